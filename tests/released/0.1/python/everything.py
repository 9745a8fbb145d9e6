"""Every hook of the contract, with every field of every answer, and what was asked told back: built once, at
the release, and kept.
"""

import dataclasses
import json

from pointsman import Abstain, Ask, BadSettings, Basis, Failed, Note, Problem, Query, Reason
from pointsman import advance as advances
from pointsman import gate as gates
from pointsman import ignore as ignores
from pointsman import react as reacts
from pointsman import review as reviews
from pointsman import run as runs
from pointsman import select as selects
from pointsman import triage as triages

SETTINGS = {
    "type": "object",
    "properties": {"say": {"type": "string", "default": "hello", "description": "What every reason says."}},
    "additionalProperties": False,
}


def check(settings):
    if settings["say"] == "":
        return [Problem("/say", "settings.empty", "It says something.")]
    return []


def because(context, hook, question):
    seen = json.dumps([dataclasses.asdict(context), dataclasses.asdict(question)], default=vars)
    return Basis(
        reason=Reason(f"everything.{hook}", context.settings["say"], {"k": "v"}),
        wake_at=context.at + 86_400_000,
        tags={f"seen.{hook}": "yes"},
        attrs={"x-seen": seen},
    )


def noted(basis):
    basis.notes = [Note("asked", "yes"), Note("gone", None)]
    return basis


def ignore(context, question):
    basis = noted(because(context, "ignore", question))
    basis.attrs["rules.scope"] = "all"
    rule = question.rules[0].id if question.rules else None
    grounds = [
        ignores.Ground(scope="all", reason=Reason("name.rare", "It is rare.")),
        ignores.Ground(scope="automatic", rule=rule, reason=Reason("name.dull", "It is dull.")),
    ]
    ignored = []
    for index, name in enumerate(question.names):
        if "rare" in name:
            ignored.append(ignores.Ignored(index, 0))
        elif "dull" in name:
            ignored.append(ignores.Ignored(index, 1))
    return ignores.Answer(grounds=grounds, ignored=ignored, basis=basis)


def advance(context, question):
    basis = noted(because(context, "advance", question))
    ranks = {stage.name: stage.rank for stage in question.stages}
    steps = []
    for index, kernel in enumerate(question.kernels):
        tried = next((tried for tried in kernel.tried if tried.purpose == "fetch"), None)
        rank = ranks.get(kernel.stage, 0)
        above = (stage.name for stage in question.stages if stage.rank > rank and stage.moved_by == "policy")
        ended = tried is not None and tried.verdict is not None
        steps.append(
            advances.Step(
                index=index,
                stage=next(above, None) if ended and tried.verdict == "pass" else None,
                purpose=None if ended else "fetch",
                priority=-7,
                basis=noted(Basis(reason=Reason("everything.step", context.settings["say"]))),
            )
        )
    return advances.Answer(steps=steps, basis=basis)


def review(context, question):
    basis = noted(because(context, "review", question))
    head = question.pull_request.head
    if any(review.state == "changes-requested" for review in question.reviews):
        return reviews.Answer(approval="rejected", basis=basis)
    if any(review.state == "approved" and review.head == head for review in question.reviews):
        return reviews.Answer(approval="approved", basis=basis)
    return reviews.Answer(approval="pending", wanted=["bo", "@org/team"], basis=basis)


def gate(context, work):
    basis = noted(because(context, "gate", work))
    title = work.members[0].title.split(" ")[0] if work.members else ""
    return gates.Answer(need={"Pass": "pass", "Fail": "fail", "Hold": "hold"}.get(title, "run"), basis=basis)


def select(context, question):
    basis = noted(because(context, "select", question))
    say = context.settings["say"]
    lanes, waiting = [], []
    for candidate in question.candidates:
        if candidate.approval == "pending":
            waiting.append(selects.Waiting(numbers=[candidate.number], reason=Reason("everything.waiting", say)))
            continue
        ready = "when-passed" if candidate.need in ("run", "pass") else "hold"
        lanes.append(
            selects.Lane(
                members=[candidate.number],
                on=len(lanes) - 1 if lanes else None,
                purpose="merge",
                landing="never" if candidate.approval == "rejected" else ready,
                priority=3,
                reason=Reason("everything.lane", say),
                attrs={"merge.message": "Land it", "x-lane": "yes"},
            )
        )
    return selects.Answer(lanes=lanes, waiting=waiting, basis=basis)


def run(context, work):
    basis = because(context, "run", work)
    skip = None if work.purpose == "try" else Reason("everything.skip", context.settings["say"])
    first = runs.Job(
        name="unit/+all",
        skip=skip,
        weight="required",
        backend="local",
        argv=["./ci", "--all"],
        env={"A": "1"},
        image="",
        secrets=["TOKEN"],
        capabilities=["kvm"],
        inputs=["src/"],
        artifacts=["out/*.xml"],
        timeout_ms=4_294_967_296,
        attrs={"reuse": "never", "x-j": "y"},
    )
    second = runs.Job(name="report", after=[first.name], skip=skip, weight="informative", argv=["true"])
    return runs.Answer(jobs=[first, second], basis=basis if work.kind == "kernel" else noted(basis))


def triage(context, question):
    basis = because(context, "triage", question)
    answer = triages.Answer(basis=basis if question.work.kind == "kernel" else noted(basis))

    def finding(job, test, group):
        return triages.Finding(job=job.name, test=test, class_=group, text=context.settings["say"], attrs={"k": "v"})

    if all(job.skipped is not None for job in question.jobs):
        answer.verdict = "pass"
        answer.findings = [finding(job, "", "skipped") for job in question.jobs]
        return answer
    for job in question.jobs:
        if not job.attempts:
            continue
        last = job.attempts[-1]
        if last.ended is None:
            answer.cancel.append(job.name)
        elif last.ended == "lost":
            more = {"memory": "1073741824"}
            answer.retry.append(triages.Retry(job=job.name, not_before=context.at + 60_000, attrs=more))
        elif last.ended == "exited" and last.exit_code == -1:
            answer.verdict = "inconclusive"
        elif last.ended == "exited" and last.exit_code != 0:
            answer.verdict = "fail"
            answer.blame = [member.number for member in question.work.members]
            answer.findings += [finding(job, test.name, "new") for test in last.tests]
    return answer


def react(context, question):
    basis = noted(because(context, "react", question))
    say = context.settings["say"]
    match question.event:
        case "abstains":
            raise Abstain("everything.abstain", say)
        case "fails":
            raise Failed("everything.failed", say)
        case "bad-settings":
            raise BadSettings(Problem("/say", "settings.odd", say))
        case "asks":
            if not context.facts:
                raise Ask(Query("file", {"path": "a/b"}))
            found = context.facts[0].found
            body = found.tag if found.val is None else getattr(found.val, "code", found.val)
            return reacts.Answer(acts=[reacts.Act("comment", {"body": body})], basis=basis)
        case "breaks":
            raise RuntimeError("it breaks")
        case "verdict":
            verdict = question.attrs["verdict"]
            state = "success" if verdict == "pass" else "failure"
            acts = [
                reacts.Act("comment", {"body": verdict, "key": "verdict"}),
                reacts.Act("status", {"context": "everything", "link": "", "state": state, "text": say}),
                reacts.Act("label", {"name": verdict}),
                reacts.Act("unlabel", {"name": "none"}),
            ]
            return reacts.Answer(acts=acts, basis=basis)
    return reacts.Answer(basis=basis)
