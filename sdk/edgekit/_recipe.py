"""Recipes: the options of a run and the steps done to its model, in a TOML file that repeats the run."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from edgekit._options import ConvertOptions, read_toml
from edgekit.errors import DataError
from edgekit_converters.compress.page import steps_schema
from edgekit_converters.compress.steps import parse_step, table_of, text_of

SCHEMA = 1
COMPRESS = "compress"

_NUMBER = (int, float)
TYPES: Mapping[str, type | tuple[type, ...]] = {
    "to": list, "precisions": list, "calib": str, "eval": str, "preprocess": dict, "metric": str,
    "max_drop": _NUMBER, "io_layout": str, "shapes": dict, "constants": dict, "lane": str,
    "bench": bool, "threads": int, "seed": int, "io_dtype": str, "float_layers": list, "time_budget": _NUMBER,
    "bundle": str,
}  # fmt: skip
"""What the keys of `[convert]` hold."""
_JSON_TYPES: Mapping[object, Mapping[str, Any]] = {
    list: {"type": "array", "items": {"type": "string"}}, dict: {"type": "object"}, str: {"type": "string"},
    bool: {"type": "boolean"}, int: {"type": "integer"}, _NUMBER: {"type": "number"},
}  # fmt: skip


def presets() -> dict[str, Path]:
    """Return the recipes that come along, by name."""
    return {file.stem: file for file in sorted(Path(__file__).with_name("recipes").glob("*.toml"))}


def from_recipe(path: Path) -> ConvertOptions:
    """Read a recipe, such as the `recipe.lock.toml` of an earlier run, or the name of one that comes along.

    Raises:
        DataError: if it cannot be read, has another schema, an unknown key, or a value of a wrong type.
        PrecisionError: if a step names no technique, or an option or value it does not have.
        UsageError: if a value is out of range.
    """
    known = presets()
    document = read_toml(path if path.exists() or str(path) not in known else known[str(path)])
    if document.get("schema") != SCHEMA:
        raise DataError(f"recipe '{path}' has schema {document.get('schema')!r}, this version reads {SCHEMA}")
    for key in document:
        if key not in {"schema", "summary", "convert", COMPRESS, "lock"}:
            raise DataError(f"recipe '{path}' has the unknown key '{key}'")
    table, steps = document.get("convert", {}), document.get(COMPRESS, [])
    if not isinstance(table, dict) or not isinstance(steps, list) or not all(isinstance(one, dict) for one in steps):
        raise DataError(f"recipe '{path}': convert is a table and compress a list of tables: [convert], [[compress]]")
    for key, value in table.items():
        if key not in TYPES:
            raise DataError(f"recipe '{path}' has the unknown key 'convert.{key}'")
        if not isinstance(value, TYPES[key]):
            raise DataError(f"recipe '{path}' has a wrong type for 'convert.{key}'")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    if "shapes" in values:
        values["shapes"] = {name: tuple(sizes) for name, sizes in values["shapes"].items()}
    return ConvertOptions(**values, compress=tuple(parse_step(text_of(one)).text for one in steps))


def to_recipe(options: ConvertOptions, **facts: object) -> str:
    """Return TOML that repeats the run, with the facts it rested on (hashes, versions) under `[lock]`."""
    import tomli_w

    table = {one.name: getattr(options, one.name) for one in fields(options) if one.name != COMPRESS}
    if not options.auto:
        table["precisions"] = tuple(dict.fromkeys(precision for _, precision in options.wanted))
    present = {key: value for key, value in table.items() if value is not None and value not in ({}, ())}
    steps = [_table(text) for text in options.compress]
    document = {"schema": SCHEMA, "convert": _lists(present), **({COMPRESS: steps} if steps else {}), "lock": facts}
    return tomli_w.dumps(_lists(document))


def _table(text: str) -> Mapping[str, object]:
    return table_of(parse_step(text))


def _lists(value: Any) -> Any:  # noqa: ANN401  # TOML knows lists, not tuples
    if isinstance(value, Mapping):
        return {key: _lists(item) for key, item in value.items() if item is not None}
    return [_lists(item) for item in value] if isinstance(value, tuple | list) else value


def schema() -> dict[str, Any]:
    """Return the form of a recipe as JSON Schema (draft 2020-12)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "EdgeKit recipe",
        "type": "object",
        "properties": {
            "schema": {"const": SCHEMA},
            "summary": {"type": "string", "description": "what it is for, in a sentence"},
            "convert": {
                "type": "object",
                "properties": {key: dict(_JSON_TYPES[kind]) for key, kind in TYPES.items()},
                "additionalProperties": False,
            },
            COMPRESS: {"type": "array", "items": steps_schema()},
            "lock": {"type": "object", "description": "what the run rested on; not read"},
        },
        "required": ["schema"],
        "additionalProperties": False,
    }
