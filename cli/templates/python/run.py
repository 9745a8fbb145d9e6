"""Which jobs test this? Here: one, with the command from the settings."""

from pointsman import Context, Work, because
from pointsman.run import Answer, Job

# What people set when they bind it. A field that is not here is refused, and named.
SETTINGS = {
    "type": "object",
    "properties": {
        "command": {
            "type": "array",
            "items": {"type": "string"},
            "default": ["make", "check"],
            "description": "Program and arguments.",
        },
        "timeout_secs": {
            "type": "integer",
            "minimum": 1,
            "default": 3600,
            "description": "How long it may take, in seconds.",
        },
    },
    "additionalProperties": False,
}


def run(context: Context, work: Work) -> Answer:
    """The policy."""
    job = Job(
        name="check",
        weight="required",
        argv=context.settings["command"],
        timeout_ms=context.settings["timeout_secs"] * 1000,
        # What a job is told is what its result depends on.
        env={"PURPOSE": work.purpose},
    )
    return Answer(jobs=[job], basis=because("jobs.one", "One job tests it."))
