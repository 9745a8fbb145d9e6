"""Does this need a run? Here: not if it only touches documentation."""

from pointsman import Context, Work, because
from pointsman.gate import Answer

# What people set when they bind it. A field that is not here is refused, and named.
SETTINGS = {
    "type": "object",
    "properties": {
        "endings": {
            "type": "array",
            "items": {"type": "string"},
            "default": [".md"],
            "description": "Changes to files with these endings alone need no run.",
        },
    },
    "additionalProperties": False,
}


def gate(context: Context, work: Work) -> Answer:
    """The policy."""
    endings = tuple(context.settings["endings"])
    # Where not all paths are known, nothing is known of the rest.
    known = len(work.changed) == work.changed_total
    if known and work.changed and all(path.endswith(endings) for path in work.changed):
        return Answer(need="pass", basis=because("paths.irrelevant", "It only changes documentation."))
    return Answer(need="run", basis=because("paths.relevant", "It changes more than documentation."))
