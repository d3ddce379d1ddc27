"""A job: int8 OpenVINO IR as NNCF makes it when nobody tells it more, or under its own accuracy control.

Request: `{"model", "kind": "keras" | "saved_model" | "torch" | "onnx", "calibration": "x.npz", "output": "x.xml",
"shapes": {input: [sizes]}, "model_type": "transformer" | null, "control": null | {"samples": "x.npz", "max_drop",
"metric": "module:function"}}`. The answer has `evaluations` and `reverted` where there was a control.
"""

import importlib
import itertools
import logging
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Convert and quantize a model."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # nothing is sent
    import nncf
    import openvino as ov

    model = _read(request)
    with np.load(request["calibration"], allow_pickle=False) as stored:
        names = stored.files
        samples = [{name: stored[name][at][np.newaxis] for name in names} for at in range(len(stored[names[0]]))]
    shown = nncf.Dataset([one["x"] if set(one) == {"x"} else one for one in samples])
    answer: dict[str, Any] = {"path": request["output"]}
    if request.get("control"):
        made, answer["evaluations"], answer["reverted"] = _controlled(nncf, model, shown, request["control"])
    elif request.get("model_type"):
        made = nncf.quantize(model, shown, model_type=nncf.ModelType(request["model_type"]))
    else:
        made = nncf.quantize(model, shown)
    ov.save_model(made, request["output"])
    return answer


def _read(request: dict[str, Any]) -> Any:
    import openvino as ov

    source, shapes = request["model"], request.get("shapes") or {}
    if request["kind"] == "torch":
        module, _, factory = source.partition(":")
        net, example = _factory(module, factory)
        fixed = {} if example is None else {"example_input": example, "input": [tuple(example.shape)]}
        model = ov.convert_model(net, **fixed)
    elif request["kind"] == "keras":
        import tensorflow as tf
        import tf_keras

        folder = str(Path(request["output"]).with_suffix(".saved"))
        tf.saved_model.save(tf_keras.models.load_model(source, compile=False), folder)
        model = ov.convert_model(folder)
    else:
        model = ov.convert_model(source)
    if shapes:  # in the order of the inputs, whose names an exported program loses
        for port, name in zip(model.inputs, shapes, strict=True):
            port.get_tensor().set_names({name})
        model.reshape({name: list(sizes) for name, sizes in shapes.items()})
    return model


def _factory(module: str, factory: str) -> tuple[Any, Any]:
    made = getattr(importlib.import_module(module), factory)()
    return made if isinstance(made, tuple) else (made, None)


def _controlled(nncf: Any, model: Any, shown: Any, control: dict[str, Any]) -> tuple[Any, int, list[str]]:
    """Quantize under NNCF's accuracy control; return the model, how often it was evaluated, and what was reverted."""
    module, _, name = control["metric"].partition(":")
    metric = getattr(importlib.import_module(module), name)
    with np.load(control["samples"], allow_pickle=False) as stored:
        inputs, labels = stored["x"], stored["y"]
    evaluations = itertools.count()

    def validated(compiled: Any, items: Iterable[tuple[Any, Any]]) -> tuple[float, list[float]]:
        next(evaluations)
        chosen = list(items)
        outputs = np.concatenate([compiled(one[np.newaxis])[0] for one, _ in chosen])
        each = np.asarray(metric({"y": outputs}, np.array([label for _, label in chosen])), np.float64)
        return float(each.mean()), each.tolist()  # one a sample: NNCF then need not run every sample by itself

    said = _Reverted()
    logging.getLogger("nncf").addHandler(said)
    made = nncf.quantize_with_accuracy_control(
        model,
        calibration_dataset=shown,
        validation_dataset=nncf.Dataset(list(zip(inputs, labels, strict=True)), lambda one: one[0][np.newaxis]),
        validation_fn=validated,
        max_drop=control["max_drop"],
    )
    return made, next(evaluations), said.names


class _Reverted(logging.Handler):
    """Collects the operations that NNCF's log says were taken back to float."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.names: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if re.match(r"\d+ out of \d+ ?were reverted", message):
            self.names = [line.strip() for line in message.splitlines()[1:] if line.strip()]
