"""Sources that another framework writes as ONNX: from there they go the way of every ONNX model."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from edgekit_converters._exchange import read_arrays, specs_from_json
from edgekit_converters.frontends import samples
from edgekit_converters.frontends.base import Loaded, LoadRequest
from edgekit_converters.frontends.files import fingerprint
from edgekit_converters.frontends.onnx import OnnxFrontend
from edgekit_converters.jobs import JobRunner, Json
from edgekit_converters.model import Step, TensorSpec


def export_request(request: LoadRequest, stem: str) -> dict[str, Json]:
    """Return what every exporting job is asked: the model, its shapes and samples, and where the ONNX goes.

    The ONNX is named after the source, because messages name it.
    """
    folder = request.work / "exported"
    folder.mkdir(exist_ok=True)
    return {
        "model": str(request.model),
        "work": str(request.work),
        "shapes": {name: list(shape) for name, shape in request.shapes.items()},
        "reference": samples.asked(request),
        "onnx": str(folder / f"{stem}.onnx"),
    }


def go_on(answer: Mapping[str, Json], request: LoadRequest, jobs: JobRunner, *, channels_first: bool) -> Loaded:
    """Load the ONNX of an exporting job as the source itself, with the framework's own outputs as reference.

    Images lie as in the source: behind the batch (`channels_first`, PyTorch) or last (TensorFlow).

    Raises:
        UnsupportedError: if TFLite was asked for and an op cannot be had.
        ConverterMissingError: if a library is not installed.
    """
    onnx = Path(answer["onnx"])
    inputs = specs_from_json(answer["inputs"])
    fixed = {one.name: shape for one in inputs if (shape := _fixed(one)) is not None}
    asked = replace(
        request,
        model=onnx,
        shapes=fixed,
        reference_samples=0,
        through_onnx=False,
        layout=request.layout if channels_first else "keep",
    )
    loaded = OnnxFrontend().load(asked, jobs)
    # A factory has no file of its own: what it made is what is known of it.
    sha256, size = fingerprint(request.model if request.model.exists() else onnx)
    source = replace(
        loaded.source,
        path=request.model,
        format=answer["format"],
        sha256=sha256,
        size_bytes=size,
        inputs=inputs,
        outputs=specs_from_json(answer["outputs"]),
        parameters=answer["parameters"],
    )
    step = Step(
        name="export to ONNX",
        before={"bytes": size, "parameters": answer["parameters"]},
        after={"bytes": onnx.stat().st_size, "parameters": loaded.source.parameters},
    )
    return replace(
        loaded,
        source=source,
        reference=read_arrays(answer["reference"]) if answer["reference"] else {},
        channels_first=channels_first,
        steps=(step, *loaded.steps),
    )


def _fixed(spec: TensorSpec) -> tuple[int, ...] | None:
    sizes = tuple(size for size in spec.shape if size is not None)
    return sizes if len(sizes) == len(spec.shape) else None
