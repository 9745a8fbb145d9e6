"""What is next for a version? Here: it moves up when a run of its stage passed."""

from pointsman import Context, because
from pointsman.advance import Answer, Question, Step

# What people set when they bind it. A field that is not here is refused, and named.
SETTINGS = {
    "type": "object",
    "properties": {
        "purpose": {
            "type": "string",
            "default": "test",
            "description": "The purpose of the runs that move a version up.",
        },
    },
    "additionalProperties": False,
}


def advance(context: Context, question: Question) -> Answer:
    """The policy."""
    purpose = context.settings["purpose"]
    ranks = {stage.name: stage.rank for stage in question.stages}
    steps = []
    for index, kernel in enumerate(question.kernels):
        passed = any(tried.purpose == purpose and tried.verdict == "pass" for tried in kernel.tried)
        # The next stage above its own that a policy may move it into.
        own = ranks.get(kernel.stage)
        above = [
            stage
            for stage in question.stages
            if own is not None and stage.rank > own and stage.moved_by == "policy"
        ]
        if passed and above:
            basis = because("run.passed", f"Its {purpose} run passed.")
            steps.append(Step(index=index, stage=above[0].name, basis=basis))
        else:
            basis = because("run.wanted", f"It waits for its {purpose} run.")
            steps.append(Step(index=index, purpose=purpose, basis=basis))
    return Answer(steps=steps, basis=because("steps.taken", "Each version was looked at by itself."))
