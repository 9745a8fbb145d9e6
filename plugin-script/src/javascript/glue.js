// Stands between the host and policy.js. `pointsman plugin build` puts the shapes of the contract and
// the exports below it; nothing here looks at the clock or at chance.
//
// Questions arrive as the contract has them and are given to the policy as a case shows them: attrs as an
// object, packed strings as an array. Answers go the other way: what is left out is empty, and what does
// not fit is an error that says where, at the policy's own door instead of behind it.
import * as policy from "./policy.js";

/** The most frames of a stack that are told. */
const FRAMES = 20;

/** The most characters of what is printed that are told, the last ones. */
const PRINTED = 2000;

/** The engine has no console. What is printed to this one is told with a failure. */
let printed = "";

function print(...values) {
    const words = values.map((value) => (typeof value === "string" ? value : shown(value)));
    printed = `${printed}${words.join(" ")}\n`.slice(-PRINTED);
}

globalThis.console = { log: print, info: print, warn: print, error: print, debug: print };

/** The name that the engine gives to this file. */
const THIS_FILE = "/package.json:";

/** The engine gives numbers of 32 bits from 2^31 on as negative ones, and takes them so. */
function unsigned(number) {
    return number < 0 ? number + 0x100000000 : number;
}

/** What makes of a value of the contract one for the policy; null where they are the same. */
function reader(shape) {
    if (shape === "attrs") return Object.fromEntries;
    if (shape === "packed") return (text) => text.split("\0").slice(0, -1);
    if (shape === "u32") return unsigned;
    if (!Array.isArray(shape)) return null;
    const [kind, inner] = shape;
    if (kind === "list") {
        const read = reader(inner);
        if (!read) return null;
        return (items) => {
            for (let n = 0; n < items.length; n += 1) items[n] = read(items[n]);
            return items;
        };
    }
    if (kind === "option") {
        const read = reader(inner);
        return read && ((value) => (value === null || value === undefined ? null : read(value)));
    }
    if (kind === "tuple") {
        const reads = inner.map(reader);
        if (!reads.some((read) => read)) return null;
        return (items) => items.map((item, n) => (reads[n] ? reads[n](item) : item));
    }
    if (kind === "variant") {
        const reads = new Map(shape[2].map(([tag, of]) => [tag, of && reader(of)]));
        if (![...reads.values()].some((read) => read)) return null;
        return ({ tag, val }) => ({ tag, val: reads.get(tag)?.(val) ?? val });
    }
    if (kind === "record") {
        const reads = shape[2].map(([name, of]) => [name, reader(of)]).filter(([, read]) => read);
        if (reads.length === 0) return null;
        if (reads.length === 1 && reads[0][1] === unsigned) {
            // There may be ten thousand of these.
            const name = reads[0][0];
            return (record) => {
                if (record[name] < 0) record[name] = unsigned(record[name]);
                return record;
            };
        }
        return (record) => {
            for (const [name, read] of reads) record[name] = read(record[name]);
            return record;
        };
    }
    return null;
}

const NUMBERS = {
    u32: [0, 0xffffffff, "a whole number from 0 to 4294967295"],
    s32: [-0x80000000, 0x7fffffff, "a whole number of 32 bits"],
    u64: [0, Number.MAX_SAFE_INTEGER, "a whole number, 0 or more"],
};

function shown(value) {
    const text = typeof value === "bigint" ? `${value}n` : JSON.stringify(value) ?? String(value);
    return text.length > 80 ? `${text.slice(0, 80)}...` : text;
}

/** A value that does not fit the contract. Where it is gets known on the way out: most values fit. */
class Misfit {
    constructor(problem) {
        this.problem = problem;
        this.at = "";
    }

    static of(value, wanted) {
        return new Misfit(value === undefined ? `is missing: it is ${wanted}` : `is ${shown(value)}: it must be ${wanted}`);
    }

    static within(place, error) {
        if (error instanceof Misfit) {
            error.at = error.at === "" || error.at.startsWith("[") ? place + error.at : `${place}.${error.at}`;
        }
        return error;
    }
}

function text(value) {
    if (typeof value !== "string") throw Misfit.of(value, "a string");
    return value;
}

function each(items, write) {
    let n = 0;
    try {
        const written = new Array(items.length);
        for (; n < items.length; n += 1) written[n] = write(items[n]);
        return written;
    } catch (error) {
        throw Misfit.within(`[${n}]`, error);
    }
}

/** What makes of a policy's value one of the contract, or throws. */
function writer(shape) {
    if (shape === "string") return (value) => (value === undefined ? "" : text(value));
    if (shape === "bool") return (value) => Boolean(value);
    if (shape in NUMBERS) {
        const [least, most, wanted] = NUMBERS[shape];
        return (value) => {
            if (value === undefined) return 0;
            if (!Number.isInteger(value) || value < least || value > most) throw Misfit.of(value, wanted);
            return shape === "u32" ? value | 0 : value;
        };
    }
    if (shape === "attrs") {
        return (value) => {
            if (value === undefined) return [];
            if (typeof value !== "object" || value === null || Array.isArray(value)) {
                throw Misfit.of(value, "an object of strings");
            }
            const keys = Object.keys(value).sort();
            return keys.map((key) => {
                if (typeof value[key] !== "string") throw Misfit.within(key, Misfit.of(value[key], "a string"));
                return [key, value[key]];
            });
        };
    }
    if (shape === "packed") {
        return (value) => {
            if (value === undefined) return "";
            if (!Array.isArray(value)) throw Misfit.of(value, "an array of strings");
            return each(value, (item) => `${text(item)}\0`).join("");
        };
    }
    const [kind, inner, more] = shape;
    if (kind === "list") {
        const write = writer(inner);
        return (value) => {
            if (value === undefined) return [];
            if (!Array.isArray(value)) throw Misfit.of(value, "an array");
            return each(value, write);
        };
    }
    if (kind === "option") {
        const write = writer(inner);
        return (value) => (value === undefined || value === null ? null : write(value));
    }
    if (kind === "tuple") {
        const writes = inner.map(writer);
        return (value) => {
            if (!Array.isArray(value) || value.length !== writes.length) {
                throw Misfit.of(value, `an array of ${writes.length}`);
            }
            return writes.map((write, n) => write(value[n]));
        };
    }
    if (kind === "enum") {
        return (value) => {
            if (!more.includes(value)) throw Misfit.of(value, `one of ${more.join(", ")}`);
            return value;
        };
    }
    if (kind === "variant") {
        const writes = new Map(more.map(([tag, of]) => [tag, of && writer(of)]));
        return (value) => {
            const write = writes.get(value?.tag);
            if (write === undefined) throw Misfit.of(value, `one of ${[...writes.keys()].join(", ")}`);
            return write ? { tag: value.tag, val: write(value.val) } : { tag: value.tag };
        };
    }
    const fields = more.map(([name, of]) => [name, writer(of)]);
    const names = new Set(fields.map(([name]) => name));
    return (value) => {
        if (typeof value !== "object" || value === null || Array.isArray(value)) {
            throw Misfit.of(value, `an object with ${[...names].join(", ")}`);
        }
        for (const name in value) {
            if (!names.has(name)) {
                throw Misfit.within(name, new Misfit(`is no field: there are ${[...names].join(", ")}`));
            }
        }
        const record = {};
        let at = "";
        try {
            for (const [name, write] of fields) {
                at = name;
                record[name] = write(value[name]);
            }
            return record;
        } catch (error) {
            throw Misfit.within(at, error);
        }
    };
}

/** The frames of an error that are not of this file, with paths as the author knows them. */
function frames(error) {
    const lines = String(error?.stack ?? "").split("\n").map((line) => line.trim());
    const own = lines.filter((line) => line.startsWith("at ") && line.includes("(/") && !line.includes(THIS_FILE));
    return own.slice(0, FRAMES).map((line) => line.slice(3).replace("(/", "("));
}

/** Any other error than a stop is a failure, with the author's own message and line. */
function stopOf(error) {
    if (error?.stop !== undefined) return error.stop;
    if (error instanceof Misfit) {
        const text = `The answer does not fit: ${error.at || "it"} ${error.problem}.`;
        return { tag: "failed", val: { code: "policy.misfit", text } };
    }
    const stack = frames(error);
    const message = error instanceof Error ? `${error.name}: ${error.message}` : `thrown: ${shown(error)}`;
    const place = stack.length > 0 ? ` (at ${stack[0]})` : "";
    const details = {};
    if (stack.length > 0) details.stack = stack.join("\n");
    if (printed !== "") details.printed = printed;
    return { tag: "failed", val: { code: "policy.uncaught", text: message + place, details } };
}

const schema = policy.settings ?? {};

/** The settings, with the schema's defaults for those that were left out. */
function read(settings) {
    const given = JSON.parse(settings);
    for (const [name, property] of Object.entries(schema.properties ?? {})) {
        if (!(name in given) && "default" in property) given[name] = structured(property.default);
    }
    return given;
}

/** A copy: a policy may change what it is given. */
function structured(value) {
    return JSON.parse(JSON.stringify(value));
}

function hook(name, shapes) {
    const decide = policy[name];
    if (typeof decide !== "function") {
        throw new Error(`policy.js exports no function \`${name}\`, which package.json names`);
    }
    const readContext = reader(shapes.context);
    const readQuestion = reader(shapes.question) ?? ((question) => question);
    const writeAnswer = writer(shapes.answer);
    const writeStop = writer(shapes.stop);
    return {
        decide(context, question) {
            try {
                const asked = readContext(context);
                asked.settings = read(asked.settings);
                return writeAnswer(decide(asked, readQuestion(question)));
            } catch (error) {
                throw writeStop(stopOf(error));
            }
        },
    };
}

function settingsOf(problems) {
    if (policy.settings === undefined) {
        throw new Error("policy.js exports no `settings`, which package.json names: a JSON Schema");
    }
    const text = JSON.stringify({ $schema: "https://json-schema.org/draft/2020-12/schema", ...schema });
    const write = writer(problems);
    return {
        schema: () => text,
        check(settings) {
            let found;
            try {
                found = write(policy.check?.(read(settings)) ?? []);
            } catch (error) {
                found = [{ field: "", code: "policy.uncaught", text: stopOf(error).val.text }];
            }
            if (found.length > 0) throw found;
        },
    };
}
