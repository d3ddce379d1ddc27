"""The job of the OpenVINO backend: convert with OpenVINO, quantize with NNCF, save the IR."""

import itertools
import random
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edgekit_converters import tflite_file
from edgekit_converters._exchange import read_arrays, specs_from_json
from edgekit_converters.backends.base import each
from edgekit_converters.backends.placing import place
from edgekit_converters.data import runs
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.foreign import first_line, missing
from edgekit_converters.jobs import Json
from edgekit_converters.model import Array, TensorSpec

Model = Any  # ov.Model has no types

_MAX_SAMPLES = 300
_UNKNOWN_OPS = re.compile(r"No conversion rule found for operations: (.+)")


def run(request: Json) -> Json:
    """Make `request["precisions"]` of `request["model"]` at `request["paths"]`.

    Raises:
        ConverterMissingError: if OpenVINO or NNCF is not installed.
        UnsupportedError: if OpenVINO cannot read the model.
    """
    # The telemetry package cannot be imported here: OpenVINO and NNCF then send nothing and write no consent file.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # what `import` takes for "not there"
    inputs, outputs = specs_from_json(request["inputs"]), specs_from_json(request["outputs"])
    samples = read_arrays(request["calibration"]) if request["calibration"] else {}
    model = _convert(Path(request["model"]), inputs, outputs)
    work = Path(request["work"])
    before = {"bytes": _save(model, work / "float.xml", fp16=False), "ops": len(model.get_ops())}

    def make(precision: str) -> Json:
        made = model.clone()
        if precision == "int8":
            _refuse_quantized(Path(request["model"]), made)
            made = _quantize(made, inputs, samples, request["seed"])
        if request["turn"]:
            made = _turned(made, *request["turn"])
        saved = work / f"{precision}.xml"
        after = {"bytes": _save(made, saved, fp16=precision == "fp16"), "ops": len(made.get_ops())}
        for suffix in (".bin", ".xml"):  # the .xml last: it is the one that is looked for
            place(saved.with_suffix(suffix).read_bytes(), Path(request["paths"][precision]).with_suffix(suffix))
        return {"steps": [{"name": _NAMES[precision], "before": before, "after": after}], "warnings": []}

    return each(request["precisions"], make)


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
        what = f"has no conversion for op {found[1]}" if found else f"cannot read the model: {_reason(exc)}"
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


def _quantize(model: Model, inputs: tuple[TensorSpec, ...], samples: dict[str, Array], seed: int) -> Model:
    try:
        import nncf
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet
    except ImportError as exc:
        raise missing("NNCF", "openvino") from exc
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # the generator NNCF draws from
    items = list(itertools.islice(runs(samples, inputs), _MAX_SAMPLES))
    try:
        # Chosen by measurement over five nets: true minima and maxima with exact bias correction lose about
        # a tenth of the error power of NNCF's defaults (KWS 31 against 22 dB, ResNet8 24 against 12 dB).
        return nncf.quantize(
            model,
            nncf.Dataset(items),
            preset=nncf.QuantizationPreset.MIXED,
            target_device=nncf.TargetDevice.CPU,
            subset_size=len(items),
            fast_bias_correction=False,
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
            ),
        )
    except Exception as exc:
        raise UnsupportedError(f"NNCF cannot quantize the model: {_reason(exc)}") from exc


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


def _reason(exc: Exception) -> str:
    """OpenVINO's messages begin with where they come from; the last line says what."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[-1][:300] if lines else first_line(exc)


_NAMES = {"fp32": "save float IR", "fp16": "compress weights to float16", "int8": "NNCF post-training int8"}
