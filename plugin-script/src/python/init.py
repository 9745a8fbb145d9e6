"""What a policy in Python is made of.

A question is given to a function of policy.py as an object with the fields of the contract, in snake_case:
attrs are dicts, packed strings are lists, enums are strings, instants are milliseconds since 1970. An answer is
one of the classes here; what is left out is empty. An exception of the classes below is a stop of the contract;
any other holds what was asked about, with its message and line.
"""

from .types import *


def because(code: str, text: str, **more) -> Basis:
    """The basis of an answer: a stable code for machines, and one sentence for people.

    `more` is `wake_at`, `notes`, `tags`, `attrs`.
    """
    return Basis(reason=Reason(code, text), **more)


class Stop(Exception):
    """No answer, and why not."""

    stop: tuple


class Abstain(Stop):
    """Not mine to say: the next binding of the hook answers."""

    def __init__(self, code: str, text: str):
        super().__init__(text)
        self.stop = ("abstain", Reason(code, text))


class Failed(Stop):
    """A failure: it holds what was asked about with this reason."""

    def __init__(self, code: str, text: str):
        super().__init__(text)
        self.stop = ("failed", Reason(code, text))


class Ask(Stop):
    """Asks for facts, which come in `context.facts` of the next round, in this order."""

    def __init__(self, *queries: Query):
        super().__init__("it asks for facts")
        self.stop = ("ask", list(queries))


class BadSettings(Stop):
    """The settings passed `check` once but are unusable now."""

    def __init__(self, *problems: Problem):
        super().__init__("the settings are unusable")
        self.stop = ("bad-settings", list(problems))
