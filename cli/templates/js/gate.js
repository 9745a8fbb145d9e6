// Does this need a run? Here: not if it only touches documentation.

import { because } from "./pointsman.js";

/** What people set when they bind it. A field that is not here is refused, and named. */
export const settings = {
    type: "object",
    properties: {
        endings: {
            type: "array",
            items: { type: "string" },
            default: [".md"],
            description: "Changes to files with these endings alone need no run.",
        },
    },
    additionalProperties: false,
};

/** The policy. */
export function gate(context, work) {
    const isText = (path) => context.settings.endings.some((ending) => path.endsWith(ending));
    // Where not all paths are known, nothing is known of the rest.
    const all = work.changed.length === work.changedTotal;
    if (all && work.changed.length > 0 && work.changed.every(isText)) {
        return { need: "pass", basis: because("paths.irrelevant", "It only changes documentation.") };
    }
    return { need: "run", basis: because("paths.relevant", "It changes more than documentation.") };
}
