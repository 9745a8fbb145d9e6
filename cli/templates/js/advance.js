// What is next for a version? Here: it moves up when a run of its stage passed.

import { because } from "./pointsman.js";

/** What people set when they bind it. A field that is not here is refused, and named. */
export const settings = {
    type: "object",
    properties: {
        purpose: {
            type: "string",
            default: "test",
            description: "The purpose of the runs that move a version up.",
        },
    },
    additionalProperties: false,
};

/** The policy. */
export function advance(context, question) {
    const { purpose } = context.settings;
    const steps = question.kernels.map((kernel, index) => {
        const passed = kernel.tried.some((tried) => tried.purpose === purpose && tried.verdict === "pass");
        // The next stage above its own that a policy may move it into.
        const own = question.stages.find((stage) => stage.name === kernel.stage);
        const next = own && question.stages.find((stage) => stage.rank > own.rank && stage.movedBy === "policy");
        if (passed && next) {
            return { index, stage: next.name, basis: because("run.passed", `Its ${purpose} run passed.`) };
        }
        return { index, purpose, basis: because("run.wanted", `It waits for its ${purpose} run.`) };
    });
    return { steps, basis: because("steps.taken", "Each version was looked at by itself.") };
}
