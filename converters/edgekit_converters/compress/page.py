"""The page of techniques, and what a recipe's steps may be as JSON Schema: both made from the table."""

from typing import Any

from edgekit_converters.compress import TECHNIQUES, technique_for
from edgekit_converters.compress.steps import all_options

_HEAD = """# Techniques

What `edgekit compress --technique NAME:key=value,...` and the `[[compress]]` steps of a recipe take; made from the
program's own table. `layers=PATTERN` (repeatable) keeps a step to the layers it names: a name, a glob, or `op:Conv`.
With `optional` a step is left out where there is nothing it can be done to, instead of ending the run.
An exact technique is proved on samples to keep the model's outputs. Values in brackets are the defaults.
"""
_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def page() -> str:
    """Return the page as Markdown."""
    parts = [_HEAD]
    for name in TECHNIQUES:
        one = technique_for(name)
        kind = "exact" if one.exact else "approximate"
        parts.append(f"\n## `{name}`\n\n{_sentence(one.help)} ({kind}).\n")
        if one.options:
            rows = [f"| `{key}` | {it.help} | {it.takes} | {it.default_text} |" for key, it in one.options.items()]
            parts.append("\n".join(["\n| option | what it is | values | default |", "|---|---|---|---|", *rows]) + "\n")
    return "".join(parts)


def steps_schema() -> dict[str, Any]:
    """Return what a `[[compress]]` table may hold, as JSON Schema."""
    return {"oneOf": [_step_schema(name) for name in TECHNIQUES]}


def _step_schema(name: str) -> dict[str, Any]:
    one = technique_for(name)
    options = {
        key: {"type": _JSON_TYPES[type(it.default)], "default": it.default, "description": f"{it.help}: {it.takes}"}
        for key, it in all_options(name).items()
    }
    layers = {
        "type": "array",
        "items": {"type": "string"},
        "description": "layers it is kept to: names, globs, op:Conv",
    }
    return {
        "type": "object",
        "description": one.help,
        "properties": {"technique": {"const": name}, **options, "layers": layers},
        "required": ["technique"],
        "additionalProperties": False,
    }


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
