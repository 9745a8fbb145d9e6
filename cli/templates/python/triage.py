"""Did it pass? Here: if every required job exited with 0; one that was lost is tried again."""

from pointsman import Context, because
from pointsman.triage import Answer, Question, Retry

# What people set when they bind it. A field that is not here is refused, and named.
SETTINGS = {
    "type": "object",
    "properties": {
        "attempts": {
            "type": "integer",
            "minimum": 1,
            "default": 2,
            "description": "Attempts of a job that was lost.",
        },
    },
    "additionalProperties": False,
}


def triage(context: Context, question: Question) -> Answer:
    """The policy."""
    waiting = False
    failed = []
    retry = []
    for job in question.jobs:
        if job.weight != "required":
            continue
        if not job.attempts:
            waiting = waiting or job.skipped is None
            continue
        last = job.attempts[-1]
        if last.ended is None:
            waiting = True
        elif last.ended == "lost" and last.number < context.settings["attempts"]:
            retry.append(Retry(job=job.name))
        elif last.ended != "exited" or last.exit_code != 0:
            failed.append(job.name)
    if failed:
        return Answer(verdict="fail", basis=because("job.failed", f"The job {failed[0]} failed."))
    if waiting or retry:
        return Answer(retry=retry, basis=because("jobs.open", "Not every job has ended."))
    return Answer(verdict="pass", basis=because("jobs.passed", "Every required job passed."))
