// What should be said about this event? Here: a comment when a run failed.

import { because } from "./pointsman.js";

/** What people set when they bind it. A field that is not here is refused, and named. */
export const settings = {
    type: "object",
    properties: {
        greeting: { type: "string", default: "It did not pass:", description: "What the comment begins with." },
    },
    additionalProperties: false,
};

/** The policy. */
export function react(context, question) {
    if (question.event !== "verdict" || question.attrs.verdict !== "fail") {
        return { basis: because("quiet", "Nothing needs to be said about it.") };
    }
    const why = question.attrs["reason.text"] ?? "nobody knows why";
    // With a key the same comment is edited the next time.
    const act = { kind: "comment", args: { body: `${context.settings.greeting} ${why}`, key: "verdict" } };
    return { acts: [act], basis: because("failure.told", "The author should know.") };
}
