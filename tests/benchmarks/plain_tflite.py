"""A job: int8 TFLite as TensorFlow's converter and ai-edge-quantizer make it when nobody tells them more.

Request: `{"tool": "tensorflow" | "ai-edge-quantizer", "model", "calibration": "x.npz", "output"}`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

Samples = dict[str, Any]
"""Arrays [N, ...] by input; `x` is the only one."""


def run(request: dict[str, str]) -> dict[str, str]:
    """Quantize a model with real inputs and outputs."""
    with np.load(request["calibration"], allow_pickle=False) as stored:
        samples = {name: stored[name] for name in stored.files}
    tool = {"tensorflow": _tensorflow, "ai-edge-quantizer": _ai_edge_quantizer}[request["tool"]]
    Path(request["output"]).write_bytes(tool(request["model"], samples))
    return {"path": request["output"]}


def _tensorflow(model: str, samples: Samples) -> bytes:
    """Full integer quantization as TensorFlow's guide shows it, of a SavedModel or a Keras 2 file."""
    import tensorflow as tf

    def shown() -> Iterator[list[Any]]:
        for sample in samples["x"]:
            yield [sample[np.newaxis]]

    if Path(model).is_dir():
        converter = tf.lite.TFLiteConverter.from_saved_model(model)
    else:
        import tf_keras

        converter = tf.lite.TFLiteConverter.from_keras_model(tf_keras.models.load_model(model, compile=False))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = shown
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return bytes(converter.convert())


def _ai_edge_quantizer(model: str, samples: Samples) -> bytes:
    """The recipe `static_wi8_ai8` with the quantizer's own calibration, of a float TFLite with a signature."""
    from ai_edge_litert import interpreter
    from ai_edge_quantizer import quantizer, recipe

    work = quantizer.Quantizer(model)
    work.load_quantization_recipe(recipe.static_wi8_ai8())
    ((key, signature),) = interpreter.Interpreter(model).get_signature_list().items()
    named = dict(zip(signature["inputs"], samples.values(), strict=True)) if set(samples) == {"x"} else samples
    count = len(next(iter(named.values())))
    seen = work.calibrate({key: [{name: one[at][np.newaxis] for name, one in named.items()} for at in range(count)]})
    return bytes(work.quantize(seen).quantized_model)
