// Is this head approved? Here: by enough people, each by the last thing they said.

import { because } from "./pointsman.js";

/** What people set when they bind it. A field that is not here is refused, and named. */
export const settings = {
    type: "object",
    properties: {
        approvals: { type: "integer", minimum: 0, default: 1, description: "How many people must approve." },
    },
    additionalProperties: false,
};

/** The policy. */
export function review(context, question) {
    const { head } = question.pullRequest;
    const last = new Map();
    for (const { by, state, head: seen } of question.reviews) {
        // A comment decides nothing, and an approval is of the head that was seen.
        if (state !== "commented" && (state !== "approved" || seen === head)) {
            last.set(by, state);
        }
    }
    const count = (state) => [...last.values()].filter((said) => said === state).length;
    if (count("changes-requested") > 0) {
        return {
            approval: "rejected",
            basis: because("review.changes-requested", "Somebody asked for changes."),
        };
    }
    const needed = context.settings.approvals;
    const enough = count("approved") >= needed;
    return {
        approval: enough ? "approved" : "pending",
        basis: because(
            enough ? "review.enough" : "review.missing",
            `${count("approved")} of ${needed} people approved this head.`,
        ),
    };
}
