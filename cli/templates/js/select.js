// Which lanes should there be? Here: one, for the pull request that was approved first.

import { because, reason } from "./pointsman.js";

/** What people set when they bind it. A field that is not here is refused, and named. */
export const settings = {
    type: "object",
    properties: {
        hold_label: { type: "string", default: "hold", description: "Pull requests with this label wait." },
    },
    additionalProperties: false,
};

/** The policy. */
export function select(context, question) {
    const ready = question.candidates.filter(
        ({ approval, labels }) => approval === "approved" && !labels.includes(context.settings.hold_label),
    );
    ready.sort((a, b) => (a.approvedAt ?? 0) - (b.approvedAt ?? 0) || a.number - b.number);
    const lanes = ready.slice(0, 1).map((first) => ({
        members: [first.number],
        purpose: "merge",
        landing: "when-passed",
        reason: reason("oldest", "It was approved first."),
    }));
    return { lanes, basis: because("oldest", "The first approved goes first.") };
}
