"""The proof of a lowered file: what counts as a difference, and that a wrong file does not pass."""

from collections.abc import Callable

import numpy as np
import pytest

from edgekit_converters import tflite_file
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.graph.flatten import Flat
from edgekit_converters.layout import Layout
from edgekit_converters.lowering.proof import TOLERANCE, difference, prove

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("got", "wanted", "apart"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.5),
        ([INF, 1.0], [INF, 1.0], 0.0),
        ([NAN, 1.0], [NAN, 1.0], 0.0),
        ([NAN, 1.0], [0.0, 1.0], INF),
        ([0.0, 1.0], [NAN, 1.0], INF),
        ([-3.4e38, 1.0], [-INF, 1.0], INF),
        ([INF], [-INF], INF),
        ([], [], 0.0),
    ],
)
def test_the_difference_takes_what_is_not_finite_at_its_word(
    got: list[float], wanted: list[float], apart: float
) -> None:
    assert difference(np.array(got), np.array(wanted)) == apart


@pytest.mark.slow
@pytest.mark.parametrize(("off", "passes"), [(0.0, True), (TOLERANCE / 2, True), (TOLERANCE * 2, False), (NAN, False)])
def test_a_file_with_other_answers_does_not_pass(off: float, passes: bool, tiny_tflite: Callable[..., bytes]) -> None:
    from ai_edge_litert.interpreter import Interpreter

    data = tiny_tflite()
    image = np.random.default_rng(4).random((1, 6, 6, 2)).astype(np.float32)
    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, image)
    interpreter.invoke()
    scores = interpreter.get_tensor(8)
    scores[0, 1] += off * np.abs(scores).max()
    flat = Flat(
        proto=None,
        weights={},
        runs=({"scores": scores},),
        feeds=({"image": image},),
        constants={},
        shape_only=frozenset(),
    )
    described = tflite_file.parse(data, "m.onnx")
    if passes:
        prove("m.onnx", data, described, flat, Layout())
        return
    with pytest.raises(UnsupportedError, match="output 'scores' of the TFLite form differs from ONNX Runtime"):
        prove("m.onnx", data, described, flat, Layout())
