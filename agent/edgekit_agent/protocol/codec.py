"""Dataclass <-> JSON for the wire: typed, bounded, and it keeps what it does not know.

One description serves decoding, encoding and the published JSON Schema: the dataclass itself. A
field's name on the wire is its `wire` metadata, or its Python name.
"""

import dataclasses
import json
import math
import re
import types
import typing
from collections.abc import Mapping
from typing import Self, cast

from edgekit_agent.errors import ProtocolError
from edgekit_agent.protocol.histogram import MAX_SCALE, MAX_WIRE_BUCKETS, MIN_SCALE, ExpHistogram

MAX_MESSAGE_BYTES = 256 * 1024
MAX_TEXT = 8192
MAX_ITEMS = 10_000


def wire(name: str, **kwargs: object) -> typing.Any:  # noqa: ANN401  # stands where dataclasses.field stands
    """Return a dataclass field with its short name on the wire."""
    return dataclasses.field(metadata={"wire": name}, **kwargs)  # type: ignore[call-overload]  # passes field's own options


def told(description: str, *, pattern: str | None = None, minimum: float | None = None, **kwargs: object) -> typing.Any:  # noqa: ANN401  # stands where dataclasses.field stands
    """Return a dataclass field with what its schema says of it, and what its values (or each of them) must keep to."""
    said = {"description": description, "pattern": pattern, "minimum": minimum}
    kept = {key: value for key, value in said.items() if value is not None}
    return dataclasses.field(metadata=kept, **kwargs)  # type: ignore[call-overload]  # passes field's own options


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Base of all messages; `extra` holds fields a newer sender added, and gives them back."""

    extra: Mapping[str, object] = dataclasses.field(default_factory=dict, compare=False)

    def to_json(self) -> dict[str, object]:
        """Return the message as JSON values; fields that are None are left out."""
        body: dict[str, object] = dict(self.extra)
        for field in _fields(type(self)):
            value = getattr(self, field.name)
            if value is not None:
                body[_wire_name(field)] = _encode(value)
        return body

    def to_bytes(self) -> bytes:
        """Return the message as compact UTF-8 JSON."""
        return json.dumps(self.to_json(), separators=(",", ":"), allow_nan=False).encode()

    @classmethod
    def from_json(cls, body: object) -> Self:
        """Check types and sizes and make the message.

        Raises:
            ProtocolError: naming the field that is missing or wrong.
        """
        if not isinstance(body, Mapping):
            msg = f"{cls.__name__} is not a JSON object"
            raise ProtocolError(msg)
        hints = typing.get_type_hints(cls)
        known: set[str] = set()
        values: dict[str, typing.Any] = {}
        for field in _fields(cls):
            name = _wire_name(field)
            known.add(name)
            where = f"{cls.__name__}.{name}"
            if name in body:
                values[field.name] = _decode(body[name], hints[field.name], where)
                _check_limits(values[field.name], field, where)
            elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                msg = f"{where} is missing"
                raise ProtocolError(msg)
        values["extra"] = {key: value for key, value in body.items() if key not in known}
        return cls(**values)

    @classmethod
    def from_bytes(cls, payload: bytes) -> Self:
        """Parse at most 256 KiB of JSON.

        Raises:
            ProtocolError: on an oversized, truncated or wrong message.
        """
        if len(payload) > MAX_MESSAGE_BYTES:
            msg = f"{cls.__name__} has {len(payload)} bytes, the limit is {MAX_MESSAGE_BYTES}"
            raise ProtocolError(msg)
        try:
            body = json.loads(payload, parse_constant=_no_constant)
        except (ValueError, RecursionError) as exc:
            msg = f"{cls.__name__} is not valid JSON"
            raise ProtocolError(msg) from exc
        return cls.from_json(body)

    @classmethod
    def json_schema(cls) -> dict[str, object]:
        """Return the JSON Schema (2020-12) of the message, made from its fields."""
        hints = typing.get_type_hints(cls)
        properties, required = {}, []
        for field in _fields(cls):
            properties[_wire_name(field)] = _field_schema(hints[field.name], field)
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                required.append(_wire_name(field))
        summary = (cls.__doc__ or "").strip().splitlines()[0]
        return {
            "title": cls.__name__,
            "description": summary,
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": True,
        }


def _no_constant(name: str) -> object:
    msg = f"{name} is not JSON"
    raise ValueError(msg)


def _fields(cls: type[Message]) -> list["dataclasses.Field[typing.Any]"]:
    return [field for field in dataclasses.fields(cls) if field.name != "extra"]


def _wire_name(field: "dataclasses.Field[typing.Any]") -> str:
    return cast("str", field.metadata.get("wire", field.name))


def _encode(value: object) -> object:
    if isinstance(value, Message | ExpHistogram):
        return value.to_json()
    if isinstance(value, Mapping):
        return {str(key): _encode(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_encode(item) for item in value]
    return value


def _wrong(where: str, wanted: str) -> ProtocolError:
    return ProtocolError(f"{where} is not {wanted}")


def _decode(value: object, hint: object, where: str) -> object:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        if value is None and type(None) in arguments:
            return None
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _decode(value, inner, where)
    if origin is tuple:
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            raise _wrong(where, f"a list of at most {MAX_ITEMS}")
        return tuple(_decode(item, arguments[0], f"{where}[]") for item in value)
    if origin is Mapping:
        if not isinstance(value, dict) or len(value) > MAX_ITEMS:
            raise _wrong(where, f"an object of at most {MAX_ITEMS} members")
        return {key: _decode(item, arguments[1], f"{where}.{key[:40]}") for key, item in value.items()}
    if isinstance(hint, type):
        return _decode_plain(value, hint, where)
    raise _wrong(where, "of a known type")


def _decode_plain(value: object, hint: type, where: str) -> object:
    if issubclass(hint, Message | ExpHistogram):
        return hint.from_json(value)
    if hint is object:
        return value
    if hint is bool:
        if not isinstance(value, bool):
            raise _wrong(where, "true or false")
        return value
    if hint is int:
        if type(value) is not int or abs(value) >= 2**63:
            raise _wrong(where, "a whole number")
        return value
    if hint is float:
        if type(value) not in {int, float} or not math.isfinite(cast("float", value)):
            raise _wrong(where, "a finite number")
        return float(cast("float", value))
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise _wrong(where, f"text of at most {MAX_TEXT} characters")
    return value


def _check_limits(value: object, field: "dataclasses.Field[typing.Any]", where: str) -> None:
    pattern, minimum = field.metadata.get("pattern"), field.metadata.get("minimum")
    for one in value if isinstance(value, tuple) else (value,):
        if pattern is not None and isinstance(one, str) and not re.fullmatch(pattern, one):
            raise _wrong(where, f"of the form {pattern}")
        if minimum is not None and isinstance(one, int | float) and one < minimum:
            raise _wrong(where, f"{minimum} or more")


_PLAIN_SCHEMAS: dict[type, dict[str, object]] = {
    str: {"type": "string", "maxLength": MAX_TEXT},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    object: {},
    ExpHistogram: {
        "title": "ExpHistogram",
        "description": "Base-2 exponential histogram of seconds (OpenTelemetry bucket law).",
        "type": "object",
        "properties": {
            "s": {"type": "integer", "minimum": MIN_SCALE, "maximum": MAX_SCALE},
            "o": {"type": "integer"},
            "c": {"type": "array", "items": {"type": "integer", "minimum": 0}, "maxItems": MAX_WIRE_BUCKETS},
            "sum": {"type": "number"},
            "min": {"type": "number"},
            "max": {"type": "number"},
            "z": {"type": "integer", "minimum": 0},
        },
        "required": ["s", "o", "c"],
        "additionalProperties": True,
    },
}


def _field_schema(hint: object, field: "dataclasses.Field[typing.Any]") -> dict[str, object]:
    schema = dict(_schema(hint))
    limits = {key: field.metadata[key] for key in ("pattern", "minimum") if key in field.metadata}
    if "pattern" in limits:
        limits["pattern"] = f"^(?:{limits['pattern']})$"  # a schema looks for its pattern anywhere in the text
    if typing.get_origin(hint) is tuple:
        schema["items"] = {**cast("dict[str, object]", schema["items"]), **limits}
    else:
        schema |= limits
    if "description" in field.metadata:
        schema["description"] = field.metadata["description"]
    return schema


def _schema(hint: object) -> dict[str, object]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return {"anyOf": [_schema(inner), {"type": "null"}]}
    if origin is tuple:
        return {"type": "array", "items": _schema(arguments[0]), "maxItems": MAX_ITEMS}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _schema(arguments[1])}
    hint = cast("type", hint)
    return hint.json_schema() if issubclass(hint, Message) else _PLAIN_SCHEMAS[hint]
