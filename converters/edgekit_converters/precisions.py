"""Precisions as people write them: a name, and options behind a colon: `int4-weights:group=64,awq`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edgekit_converters.errors import PrecisionError

Value = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A setting of a precision: how it is read, what it is when it is not given, and what it means in a few words."""

    read: Callable[[str], Value]
    default: Value
    help: str
    takes: str
    """The values it takes, as people are told."""

    @property
    def default_text(self) -> str:
        """The default as people write it."""
        return {True: "on", False: "off"}[self.default] if isinstance(self.default, bool) else str(self.default)


def flag(text: str) -> Option:
    """Return an option that is off unless named."""
    return Option(read=_flag, default=False, help=text, takes="on, off")


def choice(first: str, *others: str, text: str) -> Option:
    """Return an option with these values, the first one the default."""
    values = (first, *others)
    return Option(read=lambda given: _one_of(given, values), default=first, help=text, takes=", ".join(values))


def number(default: float, low: float, high: float, text: str) -> Option:
    """Return an option that is a number in [low, high]; a whole one where the default is."""
    kind = type(default)
    return Option(
        read=lambda given: _number(given, kind, low, high), default=default, help=text, takes=f"{low} to {high}"
    )


def text(what: str) -> Option:
    """Return an option that is any text, none unless it is given."""
    return Option(read=_text, default="", help=what, takes="text")


Options = Mapping[str, Option]
"""Options of a precision by name, in the order people are told of them."""
Precisions = Mapping[str, Options]
"""The precisions of a target, in the order people are told of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """A precision with every option of it: those given and the defaults."""

    name: str
    values: Mapping[str, Value]
    text: str
    """As it is written shortest: options at their defaults left out, the others in the table's order."""

    @property
    def label(self) -> str:
        """The part of a file's name: letters, digits, `-` and `.` only."""
        return label_of(self.text)


def label_of(text: str) -> str:
    """Return a precision's text as a part of a file's name."""
    return text.replace(":", "-").replace(",", "-").replace("=", "")


def parse(text: str, target: str, table: Precisions, what: str = "precision") -> Precision:
    """Read a precision of a target; `what` is what messages call it.

    Raises:
        PrecisionError: if the target has no such precision or the precision no such option or value; names those there
            are.
    """
    name, colon, rest = text.strip().partition(":")
    if name not in table:
        raise PrecisionError(f"{target} has no {what} '{name}': it has {', '.join(table)}")
    options = table[name]
    given: dict[str, Value] = {}
    for part in rest.split(",") if colon else ():
        key, equals, value = part.strip().partition("=")
        if key not in options:
            known = ", ".join(options) or "none"
            raise PrecisionError(f"{target} {name} has no option '{key}': it has {known}")
        if key in given:
            raise PrecisionError(f"{target} {name}: option '{key}' is given twice")
        try:
            given[key] = options[key].read(value if equals else "on")
        except ValueError:
            wrong = PrecisionError(f"{target} {name}: option '{key}' takes {options[key].takes}, not '{value}'")
            raise wrong from None
    values = {key: given.get(key, option.default) for key, option in options.items()}
    written = [_written(key, values[key]) for key, option in options.items() if values[key] != option.default]
    return Precision(
        name=name, values=MappingProxyType(values), text=f"{name}:{','.join(written)}" if written else name
    )


def _written(key: str, value: Value) -> str:
    return key if value is True else f"{key}={'off' if value is False else value}"


def _flag(text: str) -> bool:
    return {"on": True, "off": False}[_one_of(text, ("on", "off"))]


def _text(given: str) -> str:
    if not given:
        raise ValueError(given)
    return given


def _one_of(text: str, values: tuple[str, ...]) -> str:
    if text not in values:
        raise ValueError(text)
    return text


def _number(text: str, kind: type[float], low: float, high: float) -> float:
    value = kind(text)
    if not low <= value <= high:
        raise ValueError(text)
    return value
