"""Which lanes should there be? Here: one, for the pull request that was approved first."""

from pointsman import Context, Reason, because
from pointsman.select import Answer, Lane, Question

# What people set when they bind it. A field that is not here is refused, and named.
SETTINGS = {
    "type": "object",
    "properties": {
        "hold_label": {
            "type": "string",
            "default": "hold",
            "description": "Pull requests with this label wait.",
        },
    },
    "additionalProperties": False,
}


def select(context: Context, question: Question) -> Answer:
    """The policy."""
    hold = context.settings["hold_label"]
    ready = [
        candidate
        for candidate in question.candidates
        if candidate.approval == "approved" and hold not in candidate.labels
    ]
    ready.sort(key=lambda candidate: (candidate.approved_at or 0, candidate.number))
    lanes = [
        Lane(
            members=[first.number],
            purpose="merge",
            landing="when-passed",
            reason=Reason("oldest", "It was approved first."),
        )
        for first in ready[:1]
    ]
    return Answer(lanes=lanes, basis=because("oldest", "The first approved goes first."))
