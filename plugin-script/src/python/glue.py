"""Stands between the host and policy.py. `pointsman plugin build` puts the shapes of the contract and the
exports below it; nothing here looks at the clock or at chance.

Questions arrive as the contract has them and are given to the policy as a case shows them: attrs as a dict,
packed strings as a list, enums as strings. Answers go the other way: what is left out is empty, and what does
not fit is an error that says where, at the policy's own door instead of behind it.
"""

import copy
import importlib
import json
import re

from componentize_py_types import Err

import policy

# The most frames of a stack that are told.
FRAMES = 20

NUMBERS = {
    "u32": (0, 2**32 - 1, "a whole number from 0 to 4294967295"),
    "s32": (-(2**31), 2**31 - 1, "a whole number of 32 bits"),
    "u64": (0, 2**64 - 1, "a whole number, 0 or more"),
}


def binding(path):
    """What the bindings call `types.past-run`."""
    interface, name = path.split(".")
    pascal = "".join(word.capitalize() for word in name.split("-"))
    parent = "imports" if interface == "types" else "exports"
    return importlib.import_module(f"wit_world.{parent}.{interface}"), pascal


def enum_members(path, names):
    module, name = binding(path)
    members = list(getattr(module, name))
    return dict(zip(names, members, strict=True))


class Variant:
    """One of several cases, by its name in the contract."""

    def __init__(self, tag, val):
        self.tag = tag
        self.val = val


def variant_class(path, tag):
    module, name = binding(path)
    return getattr(module, f"{name}_" + "".join(word.capitalize() for word in tag.split("-")))


def reader(shape):
    """What makes of a value of the contract one for the policy; None where they are the same."""
    if shape == "attrs":
        return dict
    if shape == "packed":
        return lambda text: text.split("\0")[:-1]
    if isinstance(shape, str):
        return None
    kind, inner = shape[0], shape[1]
    if kind == "list":
        read = reader(inner)
        return read and (lambda items: [read(item) for item in items])
    if kind == "option":
        read = reader(inner)
        return read and (lambda value: None if value is None else read(value))
    if kind == "tuple":
        reads = [reader(of) for of in inner]
        if not any(reads):
            return None
        return lambda items: tuple(read(item) if read else item for read, item in zip(reads, items))
    if kind == "enum":
        names = {member: name for name, member in enum_members(inner, shape[2]).items()}
        return names.__getitem__
    if kind == "variant":
        reads = {}
        for tag, of in shape[2]:
            read = reader(of) if of is not None else None
            reads[variant_class(inner, tag)] = (tag, read)

        def read_variant(value):
            tag, read = reads[type(value)]
            val = getattr(value, "value", None)
            return Variant(tag, read(val) if read else val)

        return read_variant
    reads = [(name, read) for name, read in ((name, reader(of)) for name, of in shape[2]) if read]
    if not reads:
        return None

    def read_record(record):
        for name, read in reads:
            setattr(record, name, read(getattr(record, name)))
        return record

    return read_record


class Misfit(Exception):
    """A value that does not fit the contract. Where it is gets known on the way out: most values fit."""

    def __init__(self, value, wanted):
        shown = repr(value)
        shown = shown if len(shown) <= 80 else shown[:80] + "..."
        self.problem = f"is {shown}: it must be {wanted}"
        self.at = ""

    def within(self, place):
        self.at = place + self.at if self.at[:1] in ("", "[") else f"{place}.{self.at}"


def text(value):
    if not isinstance(value, str):
        raise Misfit(value, "a string")
    return value


def each(items, write):
    n = 0
    written = []
    try:
        for item in items:
            written.append(write(item))
            n += 1
    except Misfit as misfit:
        misfit.within(f"[{n}]")
        raise
    return written


def writer(shape):
    """What makes of a policy's value one of the contract, or raises."""
    if shape == "string":
        return text
    if shape == "bool":
        return bool
    if shape == "attrs":

        def write_attrs(value):
            if not isinstance(value, dict):
                raise Misfit(value, "a dict of strings")
            for key, held in value.items():
                if not isinstance(key, str) or not isinstance(held, str):
                    raise Misfit({key: held}, "strings")
            return sorted(value.items())

        return write_attrs
    if shape == "packed":

        def write_packed(value):
            if not isinstance(value, (list, tuple)):
                raise Misfit(value, "a list of strings")
            return "".join(item + "\0" for item in each(value, text))

        return write_packed
    if isinstance(shape, str):
        least, most, wanted = NUMBERS[shape]

        def write_number(value):
            if type(value) is not int or not least <= value <= most:
                raise Misfit(value, wanted)
            return value

        return write_number
    kind, inner = shape[0], shape[1]
    if kind == "list":
        write = writer(inner)

        def write_list(value):
            if not isinstance(value, (list, tuple)):
                raise Misfit(value, "a list")
            return each(value, write)

        return write_list
    if kind == "option":
        write = writer(inner)
        return lambda value: None if value is None else write(value)
    if kind == "tuple":
        writes = [writer(of) for of in inner]

        def write_tuple(value):
            if not isinstance(value, (list, tuple)) or len(value) != len(writes):
                raise Misfit(value, f"a tuple of {len(writes)}")
            return tuple(write(item) for write, item in zip(writes, value))

        return write_tuple
    if kind == "enum":
        members = enum_members(inner, shape[2])

        def write_enum(value):
            if not isinstance(value, str) or value not in members:
                raise Misfit(value, "one of " + ", ".join(members))
            return members[value]

        return write_enum
    if kind == "variant":
        writes = {}
        for tag, of in shape[2]:
            writes[tag] = (variant_class(inner, tag), writer(of) if of is not None else None)

        def write_variant(value):
            made, write = writes[value.tag]
            return made(write(value.val)) if write else made()

        return write_variant
    module, name = binding(inner)
    made = getattr(module, name)
    fields = [(field, writer(of)) for field, of in shape[2]]
    known = ", ".join(field for field, _ in fields)

    def write_record(value):
        values = []
        field = ""
        try:
            for field, write in fields:
                values.append(write(getattr(value, field)))
        except Misfit as misfit:
            misfit.within(field)
            raise
        except AttributeError:
            raise Misfit(value, f"a record `{name}` with {known}") from None
        return made(*values)

    return write_record


def frames(error):
    """The frames of an error that are not of this file, the innermost first, as the author knows them."""
    found = []
    frame = error.__traceback__
    while frame is not None:
        code = frame.tb_frame.f_code
        if code.co_filename != __file__:
            # The folder is mounted under a number while the component is made.
            name = re.sub(r"^/\d+/", "", code.co_filename)
            found.append(f"{code.co_qualname} ({name}:{frame.tb_lineno})")
        frame = frame.tb_next
    return found[::-1][:FRAMES]


def stop_of(error):
    """Any other error than a stop is a failure, with the author's own message and line."""
    stop = getattr(error, "stop", None)
    if stop is not None:
        tag, val = stop
        return Variant(tag, val)
    if isinstance(error, Misfit):
        text = f"The answer does not fit: {error.at or 'it'} {error.problem}."
        return Variant("failed", Reason("policy.misfit", text, {}))
    stack = frames(error)
    place = f" (at {stack[0]})" if stack else ""
    details = {"stack": "\n".join(stack)} if stack else {}
    message = f"{type(error).__name__}: {error}{place}"
    return Variant("failed", Reason("policy.uncaught", message, details))


class Reason:
    """As the SDK's."""

    def __init__(self, code, text, details):
        self.code = code
        self.text = text
        self.details = details


class Problem:
    """As the SDK's."""

    def __init__(self, field, code, text):
        self.field = field
        self.code = code
        self.text = text


SCHEMA = getattr(policy, "SETTINGS", None)


def read_settings(settings):
    """The settings, with the schema's defaults for those that were left out."""
    given = json.loads(settings)
    for name, property in (SCHEMA or {}).get("properties", {}).items():
        if name not in given and "default" in property:
            given[name] = copy.deepcopy(property["default"])
    return given


def hook(name, shapes):
    decide = getattr(policy, name, None)
    if not callable(decide):
        raise ImportError(f"policy.py has no function `{name}`, which pyproject.toml names")
    read_context = reader(shapes["context"])
    read_question = reader(shapes["question"]) or (lambda question: question)
    write_answer = writer(shapes["answer"])
    write_stop = writer(shapes["stop"])

    class Hook:
        def decide(self, context, question):
            try:
                asked = read_context(context)
                asked.settings = read_settings(asked.settings)
                return write_answer(decide(asked, read_question(question)))
            except BaseException as error:
                stop = stop_of(error)
            raise Err(write_stop(stop))

    return Hook


def settings_of(problems):
    if SCHEMA is None:
        raise ImportError("policy.py has no `SETTINGS`, which pyproject.toml names: a JSON Schema")
    schema = json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **SCHEMA})
    write = writer(problems)

    class Settings:
        def schema(self):
            return schema

        def check(self, settings):
            try:
                check = getattr(policy, "check", None)
                found = write(check(read_settings(settings)) or [] if check else [])
            except BaseException as error:
                text = stop_of(error).val.text
                found = write([Problem("", "policy.uncaught", text)])
            if found:
                raise Err(found)

    return Settings
