"""Is this head approved? Here: by enough people, each by the last thing they said."""

from pointsman import Context, because
from pointsman.review import Answer, Question

# What people set when they bind it. A field that is not here is refused, and named.
SETTINGS = {
    "type": "object",
    "properties": {
        "approvals": {
            "type": "integer",
            "minimum": 0,
            "default": 1,
            "description": "How many people must approve.",
        },
    },
    "additionalProperties": False,
}


def review(context: Context, question: Question) -> Answer:
    """The policy."""
    head = question.pull_request.head
    last: dict[str, str] = {}
    for said in question.reviews:
        # A comment decides nothing, and an approval is of the head that was seen.
        if said.state == "commented" or (said.state == "approved" and said.head != head):
            continue
        last[said.by] = said.state
    states = list(last.values())
    if "changes-requested" in states:
        basis = because("review.changes-requested", "Somebody asked for changes.")
        return Answer(approval="rejected", basis=basis)
    needed = context.settings["approvals"]
    count = states.count("approved")
    text = f"{count} of {needed} people approved this head."
    if count >= needed:
        return Answer(approval="approved", basis=because("review.enough", text))
    return Answer(approval="pending", basis=because("review.missing", text))
