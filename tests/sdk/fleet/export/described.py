"""Messages of others as descriptors, to read what we write with protobuf's own code."""

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
    pool.Add(file)
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
"""Prometheus' `metrics.proto` (client model), as much of it as is told."""

SPARKPLUG: dict[str, Fields] = {
    "Metric": (
        (1, "name", "string"), (2, "alias", "uint64"), (3, "timestamp", "uint64"), (4, "datatype", "uint32"),
        (5, "is_historical", "bool"), (6, "is_transient", "bool"), (7, "is_null", "bool"), (10, "int_value", "uint32"),
        (11, "long_value", "uint64"), (12, "float_value", "float"), (13, "double_value", "double"),
        (14, "boolean_value", "bool"), (15, "string_value", "string"), (16, "bytes_value", "bytes"),
    ),
    "Payload": (
        (1, "timestamp", "uint64"), (2, "metrics", "Metric*"), (3, "seq", "uint64"), (4, "uuid", "string"),
        (5, "body", "bytes"),
    ),
}  # fmt: skip
"""`sparkplug_b.proto`, metrics of plain types."""

OTLP: dict[str, Fields] = {
    "AnyValue": ((1, "string_value", "string"),),
    "KeyValue": ((1, "key", "string"), (2, "value", "AnyValue")),
    "Buckets": ((1, "offset", "sint32"), (2, "bucket_counts", "uint64*")),
    "ExponentialHistogramDataPoint": (
        (1, "attributes", "KeyValue*"), (2, "start_time_unix_nano", "uint64"), (3, "time_unix_nano", "uint64"),
        (4, "count", "uint64"), (5, "sum", "double"), (6, "scale", "sint32"), (7, "zero_count", "uint64"),
        (8, "positive", "Buckets"), (12, "min", "double"), (13, "max", "double"),
    ),
    "NumberDataPoint": (
        (7, "attributes", "KeyValue*"), (2, "start_time_unix_nano", "uint64"), (3, "time_unix_nano", "uint64"),
        (6, "as_int", "int64"),
    ),
    "ExponentialHistogram": (
        (1, "data_points", "ExponentialHistogramDataPoint*"), (2, "aggregation_temporality", "int32"),
    ),
    "Sum": (
        (1, "data_points", "NumberDataPoint*"), (2, "aggregation_temporality", "int32"), (3, "is_monotonic", "bool"),
    ),
    "Metric": (
        (1, "name", "string"), (2, "description", "string"), (3, "unit", "string"), (7, "sum", "Sum"),
        (10, "exponential_histogram", "ExponentialHistogram"),
    ),
    "Scope": ((1, "name", "string"), (2, "version", "string")),
    "ScopeMetrics": ((1, "scope", "Scope"), (2, "metrics", "Metric*")),
    "Resource": ((1, "attributes", "KeyValue*"),),
    "ResourceMetrics": ((1, "resource", "Resource"), (2, "scope_metrics", "ScopeMetrics*")),
    "ExportMetricsServiceRequest": ((1, "resource_metrics", "ResourceMetrics*"),),
}  # fmt: skip
"""OTLP's metrics, as much of them as is told."""
