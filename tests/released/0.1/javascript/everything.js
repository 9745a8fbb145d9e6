// Every hook of the contract, with every field of every answer, and what was asked told back: built once, at
// the release, and kept.

import { abstain, ask, badSettings, failed, problem, reason } from "./pointsman.js";

export const settings = {
    type: "object",
    properties: { say: { type: "string", default: "hello", description: "What every reason says." } },
    additionalProperties: false,
};

export function check(settings) {
    return settings.say === "" ? [problem("/say", "settings.empty", "It says something.")] : [];
}

function because(context, hook, question) {
    return {
        reason: { code: `everything.${hook}`, text: context.settings.say, details: { k: "v" } },
        wakeAt: context.at + 86_400_000,
        notes: [],
        tags: { [`seen.${hook}`]: "yes" },
        attrs: { "x-seen": JSON.stringify([context, question]) },
    };
}

function noted(basis) {
    return { ...basis, notes: [{ key: "asked", value: "yes" }, { key: "gone" }] };
}

export function ignore(context, question) {
    const basis = noted(because(context, "ignore", question));
    basis.attrs["rules.scope"] = "all";
    const grounds = [
        { scope: "all", reason: reason("name.rare", "It is rare.") },
        { scope: "automatic", rule: question.rules[0]?.id, reason: reason("name.dull", "It is dull.") },
    ];
    const ignored = [];
    question.names.forEach((name, version) => {
        if (name.includes("rare")) ignored.push({ version, ground: 0 });
        else if (name.includes("dull")) ignored.push({ version, ground: 1 });
    });
    return { grounds, ignored, basis };
}

export function advance(context, question) {
    const basis = noted(because(context, "advance", question));
    const steps = question.kernels.map((kernel, index) => {
        const tried = kernel.tried.find((tried) => tried.purpose === "fetch");
        const rank = question.stages.find((stage) => stage.name === kernel.stage)?.rank ?? 0;
        const next = question.stages.find((stage) => stage.rank > rank && stage.movedBy === "policy");
        const ended = tried !== undefined && tried.verdict !== null;
        return {
            index,
            stage: ended && tried.verdict === "pass" ? next?.name : null,
            purpose: ended ? null : "fetch",
            priority: -7,
            basis: noted({ reason: reason("everything.step", context.settings.say) }),
        };
    });
    return { steps, basis };
}

export function review(context, question) {
    const basis = noted(because(context, "review", question));
    const head = question.pullRequest.head;
    if (question.reviews.some((review) => review.state === "changes-requested")) return { approval: "rejected", basis };
    const approved = question.reviews.some((review) => review.state === "approved" && review.head === head);
    return approved ? { approval: "approved", basis } : { approval: "pending", wanted: ["bo", "@org/team"], basis };
}

export function gate(context, work) {
    const basis = noted(because(context, "gate", work));
    const need = { Pass: "pass", Fail: "fail", Hold: "hold" }[work.members[0]?.title.split(" ")[0]];
    return { need: need ?? "run", basis };
}

export function select(context, question) {
    const basis = noted(because(context, "select", question));
    const [lanes, waiting] = [[], []];
    for (const { number, approval, need } of question.candidates) {
        if (approval === "pending") {
            waiting.push({ numbers: [number], reason: reason("everything.waiting", context.settings.say) });
            continue;
        }
        const ready = need === "run" || need === "pass";
        lanes.push({
            members: [number],
            on: lanes.length > 0 ? lanes.length - 1 : null,
            purpose: "merge",
            landing: approval === "rejected" ? "never" : ready ? "when-passed" : "hold",
            priority: 3,
            reason: reason("everything.lane", context.settings.say),
            attrs: { "merge.message": "Land it", "x-lane": "yes" },
        });
    }
    return { lanes, waiting, basis };
}

export function run(context, work) {
    const basis = because(context, "run", work);
    const skip = work.purpose === "try" ? null : reason("everything.skip", context.settings.say);
    const first = {
        name: "unit/+all",
        skip,
        weight: "required",
        backend: "local",
        argv: ["./ci", "--all"],
        env: { A: "1" },
        image: "",
        secrets: ["TOKEN"],
        capabilities: ["kvm"],
        inputs: ["src/"],
        artifacts: ["out/*.xml"],
        timeoutMs: 4_294_967_296,
        attrs: { "x-j": "y", reuse: "never" },
    };
    const second = { name: "report", after: [first.name], skip, weight: "informative", argv: ["true"] };
    return { jobs: [first, second], basis: work.kind === "kernel" ? basis : noted(basis) };
}

export function triage(context, question) {
    const basis = because(context, "triage", question);
    const { kind, members } = question.work;
    const answer = { retry: [], cancel: [], findings: [], basis: kind === "kernel" ? basis : noted(basis) };
    const finding = (job, test, group) => {
        return { job: job.name, test, class: group, text: context.settings.say, attrs: { k: "v" } };
    };
    if (question.jobs.every((job) => job.skipped !== null)) {
        answer.verdict = "pass";
        answer.findings = question.jobs.map((job) => finding(job, "", "skipped"));
        return answer;
    }
    for (const job of question.jobs) {
        const last = job.attempts.at(-1);
        if (last === undefined) continue;
        if (last.ended === null) answer.cancel.push(job.name);
        if (last.ended === "lost") {
            answer.retry.push({ job: job.name, notBefore: context.at + 60_000, attrs: { memory: "1073741824" } });
        }
        if (last.ended !== "exited" || last.exitCode === 0) continue;
        if (last.exitCode === -1) {
            answer.verdict = "inconclusive";
            continue;
        }
        answer.verdict = "fail";
        answer.blame = members.map((member) => member.number);
        answer.findings.push(...last.tests.map((test) => finding(job, test.name, "new")));
    }
    return answer;
}

export function react(context, question) {
    const basis = noted(because(context, "react", question));
    const say = context.settings.say;
    switch (question.event) {
        case "abstains": throw abstain("everything.abstain", say);
        case "fails": throw failed("everything.failed", say);
        case "bad-settings": throw badSettings(problem("/say", "settings.odd", say));
        case "asks": {
            if (context.facts.length === 0) throw ask({ kind: "file", args: { path: "a/b" } });
            const { tag, val } = context.facts[0].found;
            return { acts: [{ kind: "comment", args: { body: val?.code ?? val ?? tag } }], basis };
        }
        case "breaks": throw new Error("it breaks");
        case "verdict": {
            const verdict = question.attrs.verdict;
            const state = verdict === "pass" ? "success" : "failure";
            const acts = [
                { kind: "comment", args: { body: verdict, key: "verdict" } },
                { kind: "status", args: { context: "everything", link: "", state, text: say } },
                { kind: "label", args: { name: verdict } },
                { kind: "unlabel", args: { name: "none" } },
            ];
            return { acts, basis };
        }
    }
    return { basis };
}
