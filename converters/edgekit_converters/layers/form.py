"""The form of a source in which its layers can be looked at: its own file, the ONNX or the float TFLite it becomes."""

from pathlib import Path

from edgekit_converters.frontends import frontend_for
from edgekit_converters.frontends.base import Loaded, LoadRequest
from edgekit_converters.jobs import JobRunner
from edgekit_converters.model import Arrays

_OWN = frozenset({"tflite", "onnx", "openvino"})
_BY_TENSORFLOW = frozenset({"keras", "keras-h5", "saved-model"})


def own_file(model: Path) -> Path | None:
    """Return the model's file where its layers can be had from it as it is.

    Raises:
        ModelFileError: if it is missing, empty, or not what its name says.
    """
    return model.resolve() if frontend_for(model).format in _OWN else None


def layered(model: Path, jobs: JobRunner, work: Path, inputs: Arrays | None = None) -> tuple[Loaded, Path]:
    """Return the described source, with its outputs on the inputs where there are some, and the file of its layers.

    TensorFlow's models become float TFLite, whose tensors keep the layers' names; PyTorch's become ONNX.

    Raises:
        ModelFileError: if it is missing, damaged, or not what its name says.
        UnsupportedError: if an op of it has no such form.
        CalibrationError: if the inputs do not fit.
        ConverterMissingError: if the format's library is not installed.
    """
    frontend = frontend_for(model)
    own, tensorflow = frontend.format in _OWN, frontend.format in _BY_TENSORFLOW
    asked = LoadRequest(
        model=model, work=work, reference_inputs=inputs, want_tflite=tensorflow, through_onnx=not (own or tensorflow)
    )
    loaded = frontend.load(asked, jobs)
    path = model.resolve() if own else loaded.float_tflite if tensorflow else loaded.onnx
    assert path is not None  # noqa: S101  # asked for
    return loaded, path
