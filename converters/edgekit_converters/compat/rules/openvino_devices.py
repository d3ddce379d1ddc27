"""OpenVINO's GPU and NPU plugins, which compile for nothing without their device.

NPU: fixed shapes only, no extensions (OpenVINO documentation, supported devices, row dynamic shapes: CPU yes, GPU
partial, NPU no). Types: documentation of the GPU and NPU devices.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from edgekit_converters.compat.findings import Finding, Kind, Status
from edgekit_converters.compat.rules.free_shapes import ADVICE

SOURCE = "OpenVINO documentation, supported devices"
_TYPES: Mapping[str, frozenset[str]] = {
    "NPU": frozenset({"f32", "f16", "i8", "u8", "i4", "u4", "i32", "i64", "u32", "boolean", "nf4"}),
    "GPU": frozenset({"f32", "f16", "i8", "u8", "i4", "u4", "i32", "i64", "boolean", "u1", "nf4"}),
}
_STATIC = frozenset({"NPU"})
_INPUT = "Parameter"


def judge(device: str, nodes: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Return what stands against a device; nodes are those of the job `openvino_nodes`."""
    found = []
    free = any(node["dynamic"] and node["op"] == _INPUT for node in nodes)  # then all that is free comes from there
    for node in nodes:
        reason, advice = "", ""
        if device in _STATIC and node["dynamic"] and (not free or node["op"] == _INPUT):
            reason, advice = f"its shape is not fixed and the {device} takes fixed shapes only", ADVICE
        strange = sorted(set(node["types"]) - _TYPES[device])
        if strange:
            reason, advice = (
                f"the {device} does not have {', '.join(strange)}",
                "cast these values to f32 or i32 before",
            )
        if reason:
            found.append(
                Finding(
                    status=Status.FAILS,
                    kind=Kind.RULE,
                    source=SOURCE,
                    reason=reason,
                    advice=advice,
                    node=node["index"],
                    op=node["op"],
                    output=node["output"],
                    types=" ".join(node["types"]),
                )
            )
    return found
