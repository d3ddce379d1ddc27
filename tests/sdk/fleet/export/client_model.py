"""Prometheus' `metrics.proto` (client model) as descriptors, to read what we write with protobuf's own code."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_F = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "string": _F.TYPE_STRING, "double": _F.TYPE_DOUBLE, "uint64": _F.TYPE_UINT64, "uint32": _F.TYPE_UINT32,
    "sint32": _F.TYPE_SINT32, "sint64": _F.TYPE_SINT64, "int64": _F.TYPE_INT64, "int32": _F.TYPE_INT32,
    "bool": _F.TYPE_BOOL, "bytes": _F.TYPE_BYTES, "float": _F.TYPE_FLOAT,
}  # fmt: skip

Fields = tuple[tuple[int, str, str], ...]


def messages(package: str, described: dict[str, Fields]) -> dict[str, Any]:
    """Return a class for each message; a type with `*` is repeated, an unknown one is a message."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto2")
    for name, fields in described.items():
        message = file.message_type.add(name=name)
        for number, field, kind in fields:
            bare = kind.rstrip("*")
            label = _F.LABEL_REPEATED if kind.endswith("*") else _F.LABEL_OPTIONAL
            one = message.field.add(name=field, number=number, label=label)
            one.type = _TYPES.get(bare, _F.TYPE_MESSAGE)
            if bare not in _TYPES:
                one.type_name = f".{package}.{bare}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)  # type: ignore[no-untyped-call]
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in described
    }


CLIENT_MODEL: dict[str, Fields] = {
    "LabelPair": ((1, "name", "string"), (2, "value", "string")),
    "Gauge": ((1, "value", "double"),),
    "Counter": ((1, "value", "double"),),
    "BucketSpan": ((1, "offset", "sint32"), (2, "length", "uint32")),
    "Histogram": (
        (1, "sample_count", "uint64"), (2, "sample_sum", "double"), (5, "schema", "sint32"),
        (6, "zero_threshold", "double"), (7, "zero_count", "uint64"), (12, "positive_span", "BucketSpan*"),
        (13, "positive_delta", "sint64*"),
    ),
    "Metric": (
        (1, "label", "LabelPair*"), (2, "gauge", "Gauge"), (3, "counter", "Counter"), (7, "histogram", "Histogram"),
    ),
    "MetricFamily": ((1, "name", "string"), (2, "help", "string"), (3, "type", "int32"), (4, "metric", "Metric*")),
}  # fmt: skip
