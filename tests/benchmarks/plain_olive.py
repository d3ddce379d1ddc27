"""A job for an interpreter that has Olive: int8 by its passes at their defaults, on the CPU.

Request: `{"to": "onnx" | "openvino", "model": "x.onnx", "calibration": "x.npz", "output": "a new folder"}`.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

os.environ["OLIVE_DISABLE_TELEMETRY"] = "1"  # it is on unless told otherwise

NAME = "edgekit_calibration"


def run(request: dict[str, str]) -> dict[str, str]:
    """Quantize an ONNX model; the answer's path is an `.onnx` or an `.xml`."""
    from olive.data.config import DataConfig
    from olive.data.registry import Registry
    from olive.model import ONNXModelHandler
    from olive.passes.olive_pass import create_pass_from_dict

    source = ONNXModelHandler(model_path=request["model"])
    samples = _samples(request["calibration"], source.io_config["input_names"])
    Registry.register_dataset(NAME)(lambda **_: _Samples(samples))
    data = DataConfig(
        name=NAME,
        type="DataContainer",
        load_dataset_config={"type": NAME},
        pre_process_data_config={"type": "skip_pre_process"},
        post_process_data_config={"type": "skip_post_process"},
        dataloader_config={"type": "default_dataloader", "batch_size": 1, "shuffle": False},
    )
    if request["to"] == "onnx":
        from olive.passes.onnx.quantization import OnnxStaticQuantization

        made = create_pass_from_dict(OnnxStaticQuantization, {"data_config": data}, disable_search=True).run(
            source, str(Path(request["output"], "quantized.onnx"))
        )
        return {"path": str(made.model_path)}
    from olive.passes.openvino.conversion import OpenVINOConversion
    from olive.passes.openvino.quantization import OpenVINOQuantization

    converted = create_pass_from_dict(OpenVINOConversion, {}, disable_search=True).run(
        source, str(Path(request["output"], "float"))
    )
    made = create_pass_from_dict(OpenVINOQuantization, {"data_config": data}, disable_search=True).run(
        converted, str(Path(request["output"], "int8"))
    )
    (path,) = Path(made.model_path).glob("*.xml")
    return {"path": str(path)}


def _samples(path: str, names: list[str]) -> list[dict[str, Any]]:
    with np.load(path, allow_pickle=False) as stored:
        arrays = {names[0] if name == "x" else name: stored[name] for name in stored.files}
    return [{name: array[at] for name, array in arrays.items()} for at in range(len(next(iter(arrays.values()))))]


class _Samples:
    """Samples with a label each that nobody looks at: what Olive's data loader takes."""

    def __init__(self, samples: list[dict[str, Any]]) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, at: int) -> tuple[dict[str, Any], int]:
        return self._samples[at], 0

    def __iter__(self) -> Iterator[tuple[dict[str, Any], int]]:
        return (self[at] for at in range(len(self)))
