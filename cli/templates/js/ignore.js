// Which versions need no runs? Here: those that few hosts have.

import { because, reason } from "./pointsman.js";

/** What people set when they bind it. A field that is not here is refused, and named. */
export const settings = {
    type: "object",
    properties: {
        hosts: {
            type: "integer",
            minimum: 0,
            default: 1,
            description: "Versions on fewer hosts than this need no runs.",
        },
    },
    additionalProperties: false,
};

/** The policy. */
export function ignore(context, question) {
    const least = context.settings.hosts;
    const few = { scope: "automatic", reason: reason("hosts.few", `Fewer than ${least} hosts have it.`) };
    const ignored = [];
    question.versions.forEach((version, index) => {
        // Its name is `question.names[index]`.
        if (version.hosts < least) {
            ignored.push({ version: index, ground: 0 });
        }
    });
    const basis = because("hosts.counted", "Versions that few hosts have are ignored.");
    return { grounds: [few], ignored, basis };
}
