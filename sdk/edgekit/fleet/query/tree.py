"""A filter taken apart."""

from dataclasses import dataclass
from enum import StrEnum


class Op(StrEnum):
    """How a field is compared; `~` is a pattern with `*` and `?`."""

    EQ = "="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    LIKE = "~"


@dataclass(frozen=True, slots=True)
class Test:
    """One comparison: `key` is the name behind the dot of `label.` and `hardware.`."""

    field: str
    op: Op
    values: tuple[str, ...]
    key: str = ""


@dataclass(frozen=True, slots=True)
class Has:
    """Whether a device has a label or a figure of its hardware at all."""

    field: str
    key: str


@dataclass(frozen=True, slots=True)
class Serves:
    """Whether a device serves a model of which all these are true."""

    tests: tuple[Test, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    of: "Node"


@dataclass(frozen=True, slots=True)
class All:
    """All of them; of none it is true of every device."""

    of: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Any:
    """One of them at least."""

    of: tuple["Node", ...]


Node = Test | Has | Serves | Not | All | Any
