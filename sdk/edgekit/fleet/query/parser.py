"""Text -> tree, with errors that say where and what was perhaps meant."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from edgekit.errors import UsageError
from edgekit.fleet.query.tree import All, Any, Has, Node, Not, Op, Serves, Test

LONGEST = 2000
DEEPEST = 25
PLAIN: Mapping[str, str] = MappingProxyType(
    {
        "site": "the site",
        "device": "the name",
        "state": "online, stale, offline, stopped or unknown",
        "reason": "why it is in that state, as silent or clean-stop",
        "agent": "the agent's version",
        "hardware": "the board, or else the architecture",
    }
)
SERVED: Mapping[str, str] = MappingProxyType(
    {
        "model": "a model it serves",
        "version": "the version of a model it serves",
        "runtime": "the runtime of a model it serves",
        "artifact": "the digest of a model it serves",
    }
)
DOTTED = ("label", "hardware")
STATES = ("online", "stale", "offline", "stopped", "unknown")
ORDERED = frozenset({"version", "agent"})
_ORDER = frozenset({Op.LT, Op.LE, Op.GT, Op.GE})
_WORDS = frozenset({"and", "or", "not", "in"})
_KEY = re.compile(r"[A-Za-z0-9_./:@+-]{1,128}")
_TOKEN = re.compile(
    r"""\s*(?:(?P<op><=|>=|!=|==|=|<|>|~)|(?P<mark>[(),])|"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>(?:[^'\\]|\\.)*)'"""
    r"""|(?P<word>[^\s()<>=!~,"']+)|(?P<end>\Z))""",
    re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class FilterError(UsageError):
    """A filter that is not of the language; `at` is the character (from 0) where it goes wrong."""

    def __init__(self, text: str, at: int, message: str, *hints: str) -> None:
        """Say what, where, and what may help."""
        super().__init__(f"filter, character {at + 1}: {message}")
        self.at = at
        shown = text if len(text) <= _SHOWN else text[max(0, at - _SHOWN // 2) :][:_SHOWN]
        self.add_note(
            f"{shown!r} goes wrong before {text[at : at + 20]!r}" if text[at:] else f"{shown!r} ends too early"
        )
        for hint in hints:
            self.add_note(hint)


_SHOWN = 100


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def read(text: str) -> Node:
    """Return the tree of a filter; of an empty text one that is true of every device.

    Raises:
        FilterError: if it is not of the language.
    """
    if len(text) > LONGEST:
        raise FilterError(text, LONGEST, f"it has {len(text)} characters, the limit is {LONGEST}")
    if not text.strip():
        return All(())
    parser = _Parser(text, _tokens(text))
    tree = parser.any_of(0)
    parser.finish()
    return tree


def _tokens(text: str) -> list[_Token]:
    found, at = [], 0
    while True:
        match = _TOKEN.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            hint = "close the quotation mark" if text[at] in "\"'" else "put values with such characters in quotes"
            raise FilterError(text, at, f"{text[at]!r} cannot stand here", hint)
        kind = str(match.lastgroup)
        word = _ESCAPED.sub(r"\1", match[kind]) if kind in {"single", "double"} else match[kind]
        found.append(_Token("quoted" if kind in {"single", "double"} else kind, word, match.start(kind)))
        if kind == "end":
            return found
        at = match.end()


class _Parser:
    def __init__(self, text: str, tokens: list[_Token]) -> None:
        self._text, self._tokens, self._next = text, tokens, 0

    def finish(self) -> None:
        token = self._peek()
        if token.kind != "end":
            raise self._wrong(token, f"{token.text!r} cannot stand here", "join comparisons with 'and' or 'or'")

    def any_of(self, depth: int) -> Node:
        parts = self._joined("or", lambda: self._all_of(depth))
        return parts[0] if len(parts) == 1 else Any(tuple(parts))

    def _all_of(self, depth: int) -> Node:
        parts = self._joined("and", lambda: self._one(depth))
        # what is said of a model in one breath is meant of one and the same
        served = [one for part in parts if isinstance(part, Serves) for one in part.tests]
        if served:
            parts = [part for part in parts if not isinstance(part, Serves)] + [Serves(tuple(served))]
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _joined(self, word: str, one: Callable[[], Node]) -> list[Node]:
        parts = [one()]
        while self._is(word):
            self._next += 1
            parts.append(one())
        return parts

    def _one(self, depth: int) -> Node:
        token = self._peek()
        if depth > DEEPEST:
            raise self._wrong(token, f"it is nested more than {DEEPEST} deep")
        if self._is("not"):
            self._next += 1
            return Not(self._one(depth + 1))
        if (token.kind, token.text) == ("mark", "("):
            self._next += 1
            inner = self.any_of(depth + 1)
            self._expect(")")
            # kept apart from what stands beside it: brackets end the breath
            return All((inner,)) if isinstance(inner, Serves) else inner
        return self._comparison()

    def _comparison(self) -> Node:
        name = self._take()
        if name.kind != "word" or name.text.lower() in _WORDS:
            raise self._wrong(
                name, "a field is expected", f"fields: {', '.join((*PLAIN, *SERVED))}, label.NAME, hardware.NAME"
            )
        field, dot, key = name.text.partition(".")
        self._check_field(name, field, bool(dot), key)
        token = self._peek()
        if token.kind == "op":
            self._next += 1
            return self._test(name, field, key, Op("=" if token.text == "==" else token.text), (self._value(),))
        if self._is("in"):
            self._next += 1
            return self._test(name, field, key, Op.EQ, self._values())
        if dot:
            return Has(field, key)
        raise self._wrong(
            token, f"a comparison with '{field}' is expected", f"as {field}=..., one of {' '.join(Op)} in"
        )

    def _check_field(self, token: _Token, field: str, dot: bool, key: str) -> None:  # what was read
        if dot and field in DOTTED:
            if not _KEY.fullmatch(key):
                example = f"as {field}.{'room' if field == 'label' else 'arch'}"
                raise self._wrong(token, f"'{field}.' needs a name of letters, digits and _./:@+-", example)
            return
        if not dot and field in {*PLAIN, *SERVED}:
            return
        known = [*PLAIN, *SERVED, *(f"{one}." for one in DOTTED)]
        near = get_close_matches(f"{field}." if dot else field, known, n=1, cutoff=0.5)
        meant = [f"did you mean '{near[0]}{key if near[0].endswith('.') else ''}'?"] if near else []
        if field == "label":
            meant = ["labels have a name: label.room=lab"]
        raise self._wrong(
            token,
            f"there is no field '{token.text[:60]}'",
            *meant,
            f"fields: {', '.join(known[:-2])}, label.NAME, hardware.NAME",
        )

    def _test(self, name: _Token, field: str, key: str, op: Op, values: tuple[_Token, ...]) -> Node:
        if op in _ORDER and not (field in ORDERED or (field == "hardware" and key)):
            raise self._wrong(
                name,
                f"'{name.text[:60]}' has no order",
                "before and after go with version, agent and figures of hardware.NAME",
            )
        for value in values:
            if op in {Op.EQ, Op.NE} and value.kind == "word" and _PATTERN.search(value.text):
                raise self._wrong(
                    value,
                    f"'{value.text[:60]}' is a pattern, and '{op.value}' compares the whole text",
                    f"as {'not ' if op is Op.NE else ''}{name.text[:60]}~{value.text[:60]}",
                    "put it in quotes if the text itself holds * or ?",
                )
            if field == "hardware" and key and op in _ORDER and number(value.text) is None:
                raise self._wrong(value, f"'{value.text[:60]}' is no number", f"as hardware.{key}{op}4")
            if field == "state" and op in {Op.EQ, Op.NE} and value.text not in STATES:
                near = get_close_matches(value.text, STATES, n=1)
                meant = [f"did you mean '{near[0]}'?"] if near else []
                raise self._wrong(
                    value, f"there is no state '{value.text[:60]}'", *meant, f"states: {', '.join(STATES)}"
                )
        test = Test(field, op, tuple(value.text for value in values), key)
        return Serves((test,)) if field in SERVED else test

    def _values(self) -> tuple[_Token, ...]:
        self._expect("(")
        values = [self._value()]
        while (self._peek().kind, self._peek().text) == ("mark", ","):
            self._next += 1
            values.append(self._value())
        self._expect(")")
        return tuple(values)

    def _value(self) -> _Token:
        token = self._take()
        if token.kind not in {"word", "quoted"}:
            raise self._wrong(token, "a value is expected", "put values with blanks or signs in quotes")
        return token

    def _expect(self, mark: str) -> None:
        token = self._take()
        if (token.kind, token.text) != ("mark", mark):
            raise self._wrong(token, f"'{mark}' is expected")

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        if token.kind != "end":
            self._next += 1
        return token

    def _is(self, word: str) -> bool:
        token = self._peek()
        return token.kind == "word" and token.text.lower() == word

    def _wrong(self, token: _Token, message: str, *hints: str) -> FilterError:
        return FilterError(self._text, token.at, message, *hints)


def number(text: str) -> float | None:
    """Return the number a text is, None when it is none."""
    return float(text) if _NUMBER.fullmatch(text) else None


_PATTERN = re.compile(r"[*?]")
_NUMBER = re.compile(r"[+-]?\d{1,18}(?:\.\d{1,18})?")
