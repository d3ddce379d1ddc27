"""Write docs/reference/bundle.schema.json, the JSON Schema of a bundle's manifest, from its class: `make docs`."""

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any

from edgekit_agent import postprocess, preprocess
from edgekit_agent.bundle import SCHEMA, Manifest
from edgekit_agent.postprocess import Postprocess
from edgekit_agent.preprocess import Preprocess

WORDS = {
    "kind": postprocess.KINDS,
    "activation": postprocess.ACTIVATIONS,
    "form": postprocess.FORMS,
    "unit": postprocess.UNITS,
    "interpolation": preprocess.INTERPOLATIONS,
    "layout": preprocess.LAYOUTS,
    "order": preprocess.ORDERS,
}


_PLAIN: tuple[tuple[type, set[str]], ...] = (
    (bool, {"boolean"}), (int, {"integer"}), (float, {"number"}), (str, {"string"}), (type(None), set()),
)  # fmt: skip


def document() -> dict[str, Any]:
    """Return the schema; what it cannot say (sums, references between fields) is in docs/guide/bundles.md."""
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:edgekit:bundle:{SCHEMA}",
        **Manifest.json_schema(),
    }
    for name, kind in (("preprocess", Preprocess), ("postprocess", Postprocess)):
        schema["properties"][name] |= described(kind)
    schema["properties"]["schema"] = {**schema["properties"]["schema"], "const": SCHEMA}
    return schema


def described(kind: type) -> dict[str, Any]:
    """Return the keys of a table that a class takes from a mapping, with the types JSON has for them."""
    hints = typing.get_type_hints(kind)
    properties = {}
    for one in dataclasses.fields(kind):
        alone = {"integer", "string"} if one.name == "columns" else set()  # a single one needs no list
        properties[one.name] = {"type": sorted(_types(hints[one.name]) | alone)}
        if one.name in WORDS:
            properties[one.name]["enum"] = list(WORDS[one.name])
    return {"properties": properties, "additionalProperties": False}


def _types(hint: object) -> set[str]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        return {name for one in arguments for name in _types(one)}
    if origin is tuple:
        return {"array"}
    return next(names for kind, names in _PLAIN if kind is hint)


if __name__ == "__main__":
    Path(__file__).with_name("reference").joinpath("bundle.schema.json").write_text(
        json.dumps(document(), indent=1) + "\n"
    )
