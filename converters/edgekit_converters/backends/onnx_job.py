"""The job of the ONNX backend: the float graph as it is, or quantized by ONNX Runtime's quantizer and our own."""

import copy
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from edgekit_converters._exchange import read_arrays, specs_from_json
from edgekit_converters.backends import onnx_graph, onnx_static, onnx_weights
from edgekit_converters.backends.base import each
from edgekit_converters.backends.onnx_precisions import NAMES
from edgekit_converters.backends.onnx_rim import store_rim
from edgekit_converters.backends.placing import place
from edgekit_converters.data import runs
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.foreign import first_line, missing
from edgekit_converters.jobs import Json
from edgekit_converters.layers import choice
from edgekit_converters.layers import onnx as layers
from edgekit_converters.ranges import Range

Proto = Any  # ONNX's messages have no types

FLOAT = "float.onnx"
"""The float graph, left in the scratch folder."""
# What computes on whole numbers where it is in eight bits: anything of these in float is told.
_HEAVY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN", "If", "Loop", "Scan", "Einsum"})
_INNER = frozenset({"If", "Loop", "Scan"})
_WORK_ON_INTEGERS = frozenset({"MatMul", "LSTM", "Gather"})  # with int8-dynamic


def run(request: Json) -> Json:
    """Make `request["precisions"]` of `request["model"]` at `request["paths"]`.

    Raises:
        ConverterMissingError: if a library is not installed.
        ModelFileError: if the model is damaged.
        UnsupportedError: if a layer to be left in float is not there, or the model has more than 2 GB of weights.
    """
    try:
        import onnxruntime  # noqa: F401  # asked once, for all of them
    except ImportError as exc:
        raise missing("ONNX Runtime", "onnx") from exc
    source = _Source(request)
    place(source.data, Path(request["work"], FLOAT))
    before = {"bytes": len(source.data), "ops": len(source.model.graph.node)}

    def make(precision: str) -> Json:
        asked = request["options"][precision]
        made, warnings = (source.model, []) if asked["name"] == "fp32" else source.quantize(precision, asked)
        data = made.SerializeToString()
        place(data, Path(request["paths"][precision]))
        step = {
            "name": NAMES[asked["name"]],
            "before": before,
            "after": {"bytes": len(data), "ops": len(made.graph.node)},
        }
        return {
            "steps": [step] if asked["name"] != "fp32" else [],
            "warnings": warnings,
            "weights_bytes": weights_bytes(made),
            "float_weights_bytes": weights_bytes(source.model),
            "float_layers": source.float_names if asked["name"] != "fp32" else [],
        }

    return each(request["precisions"], make)


def weights_bytes(model: Proto) -> int:
    """Return the bytes of the stored constants of a model and of what is inside its nodes."""
    import onnx

    return sum(
        (int(np.prod(one.dims, dtype=np.int64)) * _bits(one.data_type) + 7) // 8
        for graph in onnx_graph.graphs(model.graph)
        for one in graph.initializer
        if one.data_type != onnx.TensorProto.STRING
    )


def _bits(kind: int) -> int:
    import onnx

    name: str = onnx.TensorProto.DataType.Name(kind)
    return 4 if name in {"INT4", "UINT4"} else 8 * int(onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize)


class _Source:
    """The float graph, and what of it stays float."""

    def __init__(self, request: Json) -> None:
        turn = {int(rank): axes for rank, axes in request["turn"].items()}
        self.model = onnx_graph.read(Path(request["model"]), turn)
        self.data = self.model.SerializeToString()
        self._request = request
        view = layers.view(self.model)
        nodes = [view.nodes[at] for at in choice.chosen(view, request["float_layers"])]
        self.float_names = [node.name for node in nodes]
        self._float_values = {view.values[place].name for node in nodes for place in node.outputs}
        self._ready: dict[int, Proto] = {}

    @cached_property
    def _runs(self) -> list[dict[str, Any]]:
        inputs = specs_from_json(self._request["inputs"])
        return list(runs(read_arrays(self._request["calibration"]), inputs))

    def quantize(self, precision: str, asked: Json) -> tuple[Proto, list[str]]:
        """Return the model in a precision, and what there is to say about it."""
        quantized = any(
            node.op_type in onnx_graph.QUANTIZE for graph in onnx_graph.graphs(self.model.graph) for node in graph.node
        )
        if quantized:
            raise UnsupportedError(f"the ONNX model is quantized already: {precision} is made from a float one")
        made, warnings = _MAKERS[asked["name"]](self, asked)
        onnx_graph.prune_domains(made)
        if not any(True for node in made.graph.node for _ in onnx_graph.subgraphs(node)):  # they see the names too
            onnx_graph.shorten(made, onnx_graph.values_of(self.model))
        return onnx_graph.tidied(made), warnings

    def ready(self, opset: int) -> Proto:
        """Return a copy of the simplified graph at an opset."""
        if opset not in self._ready:
            self._ready[opset] = onnx_graph.ready(self.model, Path(self._request["work"]) / f"onnx-{opset}.onnx", opset)
        return copy.deepcopy(self._ready[opset])

    def floats(self, model: Proto) -> list[str]:
        """Return the names of the nodes that compute what the layers left in float do."""
        wanted, values = set(self.float_names), self._float_values
        return [node.name for node in model.graph.node if node.name in wanted or values & set(node.output)]

    def _ranges(self, model: Proto, asked: Json) -> dict[str, Range]:
        """Return the ranges of every value: read where an earlier job with the same data wrote them."""
        how = ".".join(str(asked[one]) for one in ("ranges", "percentile", "activations"))
        kept = Path(self._request["work"], f"onnx-ranges.{how}.json")
        if not kept.exists():
            place(json.dumps(onnx_static.seen(model, self._runs, asked)).encode(), kept)
        return {name: (low, high) for name, (low, high) in json.loads(kept.read_text()).items()}

    def half(self, _asked: Json) -> tuple[Proto, list[str]]:
        made = copy.deepcopy(self.model)
        return made, _nothing(onnx_weights.halve(made, self.floats(made)))

    def weights(self, asked: Json) -> tuple[Proto, list[str]]:
        group = int(asked["group"]) if "group" in asked else None
        made = self.ready(onnx_weights.GROUPS_OPSET if group else onnx_weights.PER_AXIS_OPSET)
        floats = self.floats(made)
        if group:  # ONNX Runtime's four-bit kernel is of MatMul
            made = _matrix_products(made)
        return made, _nothing(onnx_weights.round_weights(made, floats, group))

    def dynamic(self, _asked: Json) -> tuple[Proto, list[str]]:
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
        from onnxruntime.quantization.quant_utils import QuantizationMode

        made = self.ready(onnx_static.OPSET)
        try:
            quantizer = ONNXQuantizer(
                made,
                per_channel=True,
                reduce_range=False,
                mode=QuantizationMode.IntegerOps,
                static=False,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QUInt8,
                tensors_range=None,
                nodes_to_quantize=[],
                nodes_to_exclude=self.floats(made),
                op_types_to_quantize=list(_WORK_ON_INTEGERS),
                extra_options={"MatMulConstBOnly": True},
            )
            quantizer.quantize_model()
        except Exception as exc:
            raise UnsupportedError(f"ONNX Runtime's quantizer cannot quantize the model: {first_line(exc)}") from exc
        done = quantizer.model.model
        count = sum(node.op_type.startswith(("DynamicQuantize", "MatMulInteger")) for node in done.graph.node)
        return done, _nothing(count)

    def static(self, asked: Json) -> tuple[Proto, list[str]]:
        made = self.ready(onnx_static.WIDE_OPSET if asked["activations"] == "16" else onnx_static.OPSET)
        done = onnx_static.quantized(made, asked, self._ranges(made, asked), self.floats(made))
        warnings = _nothing(sum(node.op_type == "QuantizeLinear" for node in done.graph.node)) or _left(done)
        if self._request["quantized_io"] and (kept := store_rim(done)):
            warnings.append(f"stays float at the rim: {', '.join(kept)}")
        return done, [*warnings, *_elsewhere(asked["for"], self._request["inputs"])]


_MAKERS = {
    "fp16": _Source.half,
    "int8": _Source.static,
    "int8-dynamic": _Source.dynamic,
    "int8-weights": _Source.weights,
    "int4-weights": _Source.weights,
}


def _elsewhere(engine: str, inputs: Json) -> list[str]:
    """Say what is to be known of a form that is not for the engine it is measured on."""
    if engine == "ort":
        return []
    free = engine == "qnn" and any(None in one["shape"] for one in inputs)
    return [
        f"in the form of {_ENGINES[engine]}: its speed on ONNX Runtime's CPU says nothing",
        *(["QNN takes fixed shapes only: give --shape"] if free else []),
    ]


_ENGINES = {"tensorrt": "TensorRT", "qnn": "QNN"}


def _matrix_products(model: Proto) -> Proto:
    from onnxruntime.quantization.onnx_model import ONNXModel

    wrapped = ONNXModel(model)
    wrapped.replace_gemm_with_matmul()
    return wrapped.model


def _nothing(count: int) -> list[str]:
    return [] if count else ["nothing was quantized: no layer with weights of a kind that can be"]


def _left(model: Proto) -> list[str]:
    """Say which of what takes most time a static int8 model still computes in float."""
    stored = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    names = {
        node.op_type
        for node in model.graph.node
        if node.op_type in _HEAVY and (node.op_type in _INNER or not stored.issuperset(node.input[:2]))
    }
    return [f"computed in float: {', '.join(sorted(names))}"] if names else []
