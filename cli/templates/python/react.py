"""What should be said about this event? Here: a comment when a run failed."""

from pointsman import Context, because
from pointsman.react import Act, Answer, Question

# What people set when they bind it. A field that is not here is refused, and named.
SETTINGS = {
    "type": "object",
    "properties": {
        "greeting": {
            "type": "string",
            "default": "It did not pass:",
            "description": "What the comment begins with.",
        },
    },
    "additionalProperties": False,
}


def react(context: Context, question: Question) -> Answer:
    """The policy."""
    if question.event != "verdict" or question.attrs.get("verdict") != "fail":
        return Answer(basis=because("quiet", "Nothing needs to be said about it."))
    why = question.attrs.get("reason.text", "nobody knows why")
    # With a key the same comment is edited the next time.
    act = Act(kind="comment", args={"body": f"{context.settings['greeting']} {why}", "key": "verdict"})
    return Answer(acts=[act], basis=because("failure.told", "The author should know."))
