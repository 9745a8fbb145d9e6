// Short ways to say what answers are made of. The fields are the contract's (wit/), in camelCase; what is
// left out is empty.

/** A stable code for machines, dotted lower-case words, and one sentence for people. */
export function reason(code, text) {
    return { code, text };
}

/** The basis of an answer; `more` is `wakeAt`, `notes`, `tags`, `attrs`. */
export function because(code, text, more = {}) {
    return { reason: reason(code, text), ...more };
}

/** What is wrong with one field of the settings: a JSON pointer, a code, one sentence. */
export function problem(field, code, text) {
    return { field, code, text };
}

/** No answer, and why not: `throw` one of those that the functions below make. */
export class Stop extends Error {
    constructor(tag, val, message) {
        super(message);
        this.stop = { tag, val };
    }
}

/** Not mine to say: the next binding of the hook answers. */
export function abstain(code, text) {
    return new Stop("abstain", reason(code, text), text);
}

/** A failure: it holds what was asked about with this reason. So does any other error that is thrown. */
export function failed(code, text) {
    return new Stop("failed", reason(code, text), text);
}

/** Asks for facts, `{kind, args}`, which come in `context.facts` of the next round, in this order. */
export function ask(...queries) {
    return new Stop("ask", queries, "it asks for facts");
}

/** The settings passed `check` once but are unusable now. */
export function badSettings(...problems) {
    return new Stop("bad-settings", problems, "the settings are unusable");
}
