"""Steps of a recipe as people write them: `prune-channels:ratio=0.5,layers=conv*,layers=dense`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from edgekit_converters.compress import technique_for
from edgekit_converters.errors import PrecisionError
from edgekit_converters.precisions import Options, Value, flag, parse

LAYERS, OPTIONAL = "layers", "optional"
COMMON: Options = MappingProxyType({OPTIONAL: flag("leave the step out where there is nothing it can be done to")})
"""Options that every technique has, beside `layers`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeStep:
    """A technique with every option of it; `layers` empty means all it is for."""

    technique: str
    values: Mapping[str, Value]
    layers: tuple[str, ...]
    optional: bool
    """Whether a model it cannot be done to stays as it is, instead of ending the run."""
    text: str
    """As it is written shortest."""


def parse_step(text: str) -> RecipeStep:
    """Read a step; `layers=` may stand there several times, with names, globs or `op:Conv`.

    Raises:
        PrecisionError: if there is no such technique, option or value; names those there are.
    """
    name, colon, rest = text.strip().partition(":")
    parts = rest.split(",") if colon else []
    layers = tuple(part.partition("=")[2] for part in parts if part.startswith(f"{LAYERS}="))
    if "" in layers:
        raise PrecisionError(f"technique {name}: option '{LAYERS}' takes a layer's name, a glob or op:NAME")
    options = ",".join(part for part in parts if not part.startswith(f"{LAYERS}="))
    read = parse(f"{name}:{options}" if options else name, "technique", {name: all_options(name)})
    written = [*read.text.partition(":")[2::2], *(f"{LAYERS}={one}" for one in layers)]
    shortest = ",".join(filter(None, written))
    return RecipeStep(
        technique=name,
        values=MappingProxyType({key: value for key, value in read.values.items() if key not in COMMON}),
        layers=layers,
        optional=read.values[OPTIONAL] is True,
        text=f"{name}:{shortest}" if shortest else name,
    )


def all_options(name: str) -> Options:
    """Return a technique's own options and those every technique has."""
    return {**technique_for(name).options, **COMMON}


def text_of(table: Mapping[str, object]) -> str:
    """Return a step of a recipe file, a table with `technique` and its options, as text.

    Raises:
        PrecisionError: if it names no technique, or a value is no text, number, truth or list of layers.
    """
    name = table.get("technique")
    if not isinstance(name, str):
        raise PrecisionError('a step of a recipe needs a technique: technique = "prune-channels"')
    parts = []
    for key, value in table.items():
        if key == "technique":
            continue
        if key == LAYERS:
            if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
                raise PrecisionError(f"technique {name}: {LAYERS} is a list of names")
            parts += [f"{LAYERS}={one}" for one in value]
        elif isinstance(value, str | int | float):
            parts.append(f"{key}={_text(value)}")
        else:
            raise PrecisionError(f"technique {name}: option '{key}' is no text, number or truth")
    return f"{name}:{','.join(parts)}" if parts else name


def table_of(step: RecipeStep) -> dict[str, Value | list[str]]:
    """Return a step as a table of a recipe file: the options that are not at their defaults."""
    options = all_options(step.technique)
    given = {key: value for key, value in step.values.items() if value != options[key].default}
    more: dict[str, Value | list[str]] = {OPTIONAL: True} if step.optional else {}
    return {"technique": step.technique, **given, **more, **({LAYERS: list(step.layers)} if step.layers else {})}


def with_options(step: RecipeStep, **given: Value) -> RecipeStep:
    """Return the step with other values of some of its options."""
    return parse_step(text_of({**table_of(step), **given}))


def parse_steps(texts: Sequence[str]) -> tuple[RecipeStep, ...]:
    """Read several; see `parse_step`."""
    return tuple(map(parse_step, texts))


def _text(value: str | float) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
