// Did it pass? Here: if every required job exited with 0; one that was lost is tried again.

import { because } from "./pointsman.js";

/** What people set when they bind it. A field that is not here is refused, and named. */
export const settings = {
    type: "object",
    properties: {
        attempts: { type: "integer", minimum: 1, default: 2, description: "Attempts of a job that was lost." },
    },
    additionalProperties: false,
};

/** The policy. */
export function triage(context, question) {
    let waiting = false;
    const failed = [];
    const retry = [];
    for (const job of question.jobs.filter(({ weight }) => weight === "required")) {
        const last = job.attempts.at(-1);
        if (last === undefined) {
            waiting ||= job.skipped === null;
        } else if (last.ended === null) {
            waiting = true;
        } else if (last.ended === "lost" && last.number < context.settings.attempts) {
            retry.push({ job: job.name });
        } else if (last.ended !== "exited" || last.exitCode !== 0) {
            failed.push(job.name);
        }
    }
    if (failed.length > 0) {
        return { verdict: "fail", basis: because("job.failed", `The job ${failed[0]} failed.`) };
    }
    if (waiting || retry.length > 0) {
        return { verdict: null, retry, basis: because("jobs.open", "Not every job has ended.") };
    }
    return { verdict: "pass", basis: because("jobs.passed", "Every required job passed.") };
}
