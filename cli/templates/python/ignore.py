"""Which versions need no runs? Here: those that few hosts have."""

from pointsman import Context, Reason, because
from pointsman.ignore import Answer, Ground, Ignored, Question

# What people set when they bind it. A field that is not here is refused, and named.
SETTINGS = {
    "type": "object",
    "properties": {
        "hosts": {
            "type": "integer",
            "minimum": 0,
            "default": 1,
            "description": "Versions on fewer hosts than this need no runs.",
        },
    },
    "additionalProperties": False,
}


def ignore(context: Context, question: Question) -> Answer:
    """The policy."""
    least = context.settings["hosts"]
    few = Ground(scope="automatic", reason=Reason("hosts.few", f"Fewer than {least} hosts have it."))
    # The name of a version is question.names[index].
    ignored = [
        Ignored(version=index, ground=0)
        for index, version in enumerate(question.versions)
        if version.hosts < least
    ]
    basis = because("hosts.counted", "Versions that few hosts have are ignored.")
    return Answer(grounds=[few], ignored=ignored, basis=basis)
