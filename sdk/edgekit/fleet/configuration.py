"""Configuration that is set from afar: which keys, `KEY=VALUE` as people write it, and one lying over another."""

import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from edgekit.errors import UsageError
from edgekit_agent.remote import KEYS

_MODEL_LEVELS = 3


def check_keys(conf: Mapping[str, Any]) -> None:
    """See that every key is one that devices take from afar; the values they check themselves.

    Raises:
        UsageError: naming the first that is not.
    """
    for path in _leaves(conf, ()):
        known = ".".join(("model", "*", *path[2:]) if path[0] == "model" and len(path) >= _MODEL_LEVELS else path)
        if known not in KEYS:
            text = ".".join(path)[:100]
            error = UsageError(f"'{text}' is no key that can be set from afar")
            near = get_close_matches(known, KEYS, n=1)
            error.add_note(f"did you mean '{near[0]}'?" if near else f"keys: {', '.join(KEYS)}")
            raise error


def nested(pairs: Iterable[str]) -> dict[str, Any]:
    """Return the tables of `KEY=VALUE` texts; a value is JSON, or else text, and nothing takes the key away.

    Raises:
        UsageError: if one is not of that form.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        *tables, last = key.strip().split(".")
        if not (equals and last and all(tables)):
            error = UsageError(f"'{pair[:80]}' is not of the form KEY=VALUE")
            error.add_note("as telemetry.window_s=5 or model.kws.rate_hz=2; KEY= takes it away")
            raise error
        table = found
        for name in tables:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise UsageError(f"'{key}' is set inside of what is set already")
        table[last] = _value(text.strip())
    return found


def merged(before: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return one configuration lying over another; None takes a key away, and tables that are empty then."""
    found = dict(before)
    for key, value in over.items():
        if isinstance(value, Mapping):
            inner = found.get(key)
            table = merged(inner if isinstance(inner, Mapping) else {}, value)
            if table:
                found[key] = table
            else:
                found.pop(key, None)
        elif value is None:
            found.pop(key, None)
        else:
            found[key] = value
    return found


def _value(text: str) -> Any:  # noqa: ANN401  # whatever JSON has
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def _leaves(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key)
