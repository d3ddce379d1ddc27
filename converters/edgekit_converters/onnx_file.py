"""What an ONNX file holds, as a job."""

from pathlib import Path
from typing import Any

from edgekit_converters.layers import onnx


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Return the picture of `request["model"]`.

    Raises:
        ModelFileError: if it cannot be read.
    """
    return {"view": onnx.view(onnx.read(Path(request["model"]))).to_json()}
