// Which jobs test this? Here: one, with the command from the settings.

import { because } from "./pointsman.js";

/** What people set when they bind it. A field that is not here is refused, and named. */
export const settings = {
    type: "object",
    properties: {
        command: {
            type: "array",
            items: { type: "string" },
            default: ["make", "check"],
            description: "Program and arguments.",
        },
        timeout_secs: { type: "integer", minimum: 1, default: 3600, description: "How long it may take, in seconds." },
    },
    additionalProperties: false,
};

/** The policy. */
export function run(context, work) {
    const { command, timeout_secs: seconds } = context.settings;
    const job = {
        name: "check",
        weight: "required",
        argv: command,
        timeoutMs: seconds * 1000,
        // What a job is told is what its result depends on.
        env: { PURPOSE: work.purpose },
    };
    return { jobs: [job], basis: because("jobs.one", "One job tests it.") };
}
