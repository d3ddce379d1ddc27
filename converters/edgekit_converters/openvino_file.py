"""What an OpenVINO IR holds, as a job."""

from pathlib import Path
from typing import Any

from edgekit_converters.layers import openvino


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Return inputs, outputs and the picture of `request["model"]`, an `.xml` with its `.bin` beside it.

    Raises:
        ModelFileError: if it cannot be read.
        ConverterMissingError: if OpenVINO is not installed.
    """
    model = openvino.read(Path(request["model"]))
    return {
        "inputs": [openvino.spec(port) for port in model.inputs],
        "outputs": [openvino.spec(port) for port in model.outputs],
        "view": openvino.view(model).to_json(),
    }
