"""The job of the OpenVINO backend: convert with OpenVINO, quantize with NNCF, save the IR."""

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edgekit_converters import tflite_file
from edgekit_converters._exchange import read_arrays, specs_from_json
from edgekit_converters.backends import openvino_precisions as precisions
from edgekit_converters.backends.base import each
from edgekit_converters.backends.openvino_bias import add_biases
from edgekit_converters.backends.openvino_codebook import store_codebooks
from edgekit_converters.backends.openvino_float import halve, key, relax, respread
from edgekit_converters.backends.placing import place
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.foreign import last_line, missing
from edgekit_converters.jobs import Json
from edgekit_converters.layers import choice
from edgekit_converters.layers import openvino as layers
from edgekit_converters.model import Array, TensorSpec
from edgekit_converters.ranges import Range, Ranges, observe

Model = Any  # ov.Model has no types

_UNKNOWN_OPS = re.compile(r"No conversion rule found for operations: (.+)")
_FLOAT = frozenset({"fp32", "fp16"})
FLOAT = "float.xml"
"""The float model as the job leaves it in its scratch folder."""


def run(request: Json) -> Json:
    """Make `request["precisions"]` of `request["model"]` at `request["paths"]`.

    Raises:
        ConverterMissingError: if OpenVINO or NNCF is not installed.
        UnsupportedError: if OpenVINO cannot read the model, or a layer to be left in float is not there.
    """
    # The telemetry package cannot be imported here: OpenVINO and NNCF then send nothing and write no consent file.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # what `import` takes for "not there"
    source = _Source(request)
    floats = layers.weights_bytes(source.model)

    def make(precision: str) -> Json:
        asked = request["options"][precision]
        made = source.model.clone() if asked["name"] in _FLOAT else source.made(precision, asked)
        if asked["name"] == "int8":
            add_biases(made)
        if request["turn"]:
            made = _turned(made, *request["turn"])
        coded = store_codebooks(made) if asked.get("codebook") else None
        saved = source.work / "made.xml"
        after = {"bytes": _save(made, saved, fp16=asked["name"] != "fp32"), "ops": len(made.get_ops())}
        for suffix in (".bin", ".xml"):  # the .xml last: it is the one that is looked for
            place(saved.with_suffix(suffix).read_bytes(), Path(request["paths"][precision]).with_suffix(suffix))
        return {
            "steps": [{"name": precisions.NAMES[asked["name"]], "before": source.before, "after": after}],
            "warnings": ["no layer's weights have 256 values or fewer"] if coded == 0 else [],
            "weights_bytes": layers.weights_bytes(layers.read(saved)),  # saving may have halved them
            "float_weights_bytes": floats // (1 if asked["name"] == "fp32" else 2),  # float16 beside what is quantized
            "float_layers": [] if asked["name"] in _FLOAT else source.floats,
        }

    return each(request["precisions"], make)


class _Source:
    """The float model and what of it stays float; an int8 model is made once and kept beside for the next job."""

    def __init__(self, request: Json) -> None:
        self._path, self._request = Path(request["model"]), request
        self.work = Path(request["work"])
        self._inputs = specs_from_json(request["inputs"])
        self._samples = read_arrays(request["calibration"]) if request["calibration"] else {}
        self.model = _convert(self._path, self._inputs, specs_from_json(request["outputs"]))
        self._float = self.work / FLOAT
        self.before = {"bytes": _save(self.model, self._float, fp16=False), "ops": len(self.model.get_ops())}
        view = layers.view(self.model)
        self.floats = [view.nodes[at].name for at in choice.chosen(view, request["float_layers"])]

    def made(self, precision: str, asked: Json) -> Model:
        """Return the model in a precision that is not float."""
        _refuse_quantized(self._path, self.model)
        batches = precisions.batches(self._samples, self._inputs)
        if asked["name"] != "int8":
            if not precisions.looks_at_activations(asked):
                batches = []
            return precisions.compressed(self.model.clone(), asked, batches, self._request["seed"], self.floats)
        if asked["model"] != "plain" and (asked["model"] == "transformer" or precisions.has_attention(self.model)):
            # smoothing moves scales between layers: which are float must be known before
            return self._spread(
                precisions.quantized(self.model.clone(), asked, batches, self._request["seed"], self.floats), asked
            )
        kept = self.work / f"int8.{precision.partition(':')[2].replace(',', '.')}.xml"
        if not kept.exists():
            made = self._spread(
                precisions.quantized(self.model.clone(), asked, batches, self._request["seed"], []), asked
            )
            _save(made, kept, fp16=False)
        made = layers.read(kept)
        relax(made, self.model, self.floats)
        halve(made)
        return made

    def _spread(self, made: Model, asked: Json) -> Model:
        """Give the grids the ranges asked for where they are not the limits of what was seen."""
        if asked["ranges"] != "min-max":
            respread(made, self._ranges(asked))
        return made

    def _ranges(self, asked: Json) -> Mapping[str, Range]:
        model = layers.OpenVINOModel(self._float)
        computed = [
            at
            for node in model.view.nodes
            for at in node.outputs
            if model.view.values[at].dtype == "float32" and at not in model.view.fixed
        ]
        names = [key(port) for one in layers.read(self._float).get_ordered_ops() for port in one.outputs()]
        run = model.runner(computed)

        def every() -> Iterable[Mapping[Any, Array]]:
            for batch in precisions.batches(self._samples, self._inputs):
                given = {model.inputs[name]: array for name, array in batch.items()}
                floats = {at: array for at, array in given.items() if array.dtype.kind == "f"}
                yield {**floats, **dict(zip(computed, run(given), strict=True))}

        found = observe(Ranges(asked["ranges"], asked["percentile"]), every).found()
        return {names[at]: limits for at, limits in found.items()}  # type: ignore[call-overload]  # keys are places


def _convert(path: Path, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> Model:
    try:
        import openvino as ov
    except ImportError as exc:
        raise missing("OpenVINO", "openvino") from exc
    try:
        model = ov.Core().read_model(path) if path.suffix == ".xml" else ov.convert_model(path)
        model.reshape({port: ov.PartialShape(_shape(spec)) for port, spec in zip(model.inputs, inputs, strict=True)})
        return _named(model, inputs, outputs)
    except Exception as exc:
        found = _UNKNOWN_OPS.search(str(exc))
        what = f"has no conversion for op {found[1]}" if found else f"cannot read the model: {last_line(exc)}"
        raise UnsupportedError(f"OpenVINO {what}") from exc


def _refuse_quantized(path: Path, model: Model) -> None:
    if path.suffix == ".tflite" and tflite_file.read(path).quantized:
        raise UnsupportedError("the TFLite file is quantized already: int8 is made from a float one")
    if path.suffix == ".xml" and any(op.get_type_name() == "FakeQuantize" for op in model.get_ops()):
        raise UnsupportedError("the OpenVINO IR is quantized already: int8 is made from a float one")


def _shape(spec: TensorSpec) -> list[int]:
    return [-1 if size is None else size for size in spec.shape]


def _named(model: Model, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> Model:
    """Give the source's names and order: by name where they are there already, else by place."""
    import openvino as ov

    parameters = [port.get_node() for port in _ordered(model.inputs, inputs)]
    results = [port.get_node() for port in _ordered(model.outputs, outputs)]
    named = model
    if parameters != [port.get_node() for port in model.inputs] or results != [
        port.get_node() for port in model.outputs
    ]:
        named = ov.Model(results, model.get_sinks(), parameters, model.get_friendly_name())
    for port, spec in zip((*named.inputs, *named.outputs), (*inputs, *outputs), strict=True):
        port.get_tensor().set_names({spec.name})
    for port, spec in zip(named.inputs, inputs, strict=True):
        port.get_node().set_friendly_name(spec.name)
    return named


def _ordered(ports: list[Model], specs: tuple[TensorSpec, ...]) -> list[Model]:
    found = [next((port for port in ports if spec.name in port.get_names()), None) for spec in specs]
    complete = len({id(port) for port in found}) == len(ports) and None not in found
    return found if complete else ports


def _turned(model: Model, inside: str, outside: str) -> Model:
    """Give images at the rim another layout: OpenVINO writes the transposes."""
    from openvino.preprocess import PrePostProcessor

    layouts = {4: (inside, outside), 5: (inside.replace("h", "dh"), outside.replace("h", "dh"))}
    steps = PrePostProcessor(model)
    for ports, rim in ((model.inputs, steps.input), (model.outputs, steps.output)):
        for index, port in enumerate(ports):
            if len(port.partial_shape) in layouts:
                own, wanted = layouts[len(port.partial_shape)]
                rim(index).model().set_layout(own.upper())
                rim(index).tensor().set_layout(wanted.upper())
    return steps.build()


def _save(model: Model, path: Path, *, fp16: bool) -> int:
    import openvino as ov

    ov.save_model(model, path, compress_to_fp16=fp16)
    return path.stat().st_size + path.with_suffix(".bin").stat().st_size
