"""The grids of an OpenVINO IR are found where OpenVINO writes them."""

import sys
from typing import Any

import numpy as np
import pytest

from edgekit_converters.layers.openvino_grids import grid_of
from edgekit_converters.tflite_file import Quantization

SCALE = np.array([[[0.5]], [[0.25]]], np.float32)


@pytest.fixture
def opset() -> Any:
    pytest.importorskip("openvino", reason="needs the extra openvino")
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # no usage statistics from an import
    from openvino import opset13

    return opset13


@pytest.mark.parametrize("kept", [np.float16, np.float32])
@pytest.mark.parametrize("zero", [None, 3], ids=["symmetric", "asymmetric"])
def test_stored_weights_have_the_grid_of_the_operators_behind_them(
    opset: Any, zero: int | None, kept: type
) -> None:  # a parameter of the test
    stored = opset.constant(np.zeros((2, 4, 4), np.int8))
    real = opset.convert(stored, "f32")
    if zero is not None:
        real = opset.subtract(real, opset.convert(opset.constant(np.array([[[zero]], [[5]]], np.int8)), "f32"))
    held = opset.multiply(real, opset.convert(opset.constant(SCALE.astype(kept)), "f32"))
    points = (0, 0) if zero is None else (zero, 5)
    assert grid_of(stored) == Quantization(scale=(0.5, 0.25), zero_point=points, axis=0)
    assert grid_of(held) is None


def test_whole_numbers_that_are_no_weights_have_no_grid(opset: Any) -> None:
    index, shape = opset.constant(np.zeros(2, np.int8)), opset.constant(np.zeros(2, np.int64))
    plain = opset.convert(index, "f32")
    assert grid_of(index) is None
    assert grid_of(shape) is None
    assert grid_of(plain) is None


def test_a_fake_quantize_has_the_grid_it_puts_values_on(opset: Any) -> None:
    taken = opset.parameter([1, 2], np.float32)
    ends = [opset.constant(np.array(one, np.float32)) for one in (-1.28, 1.27)]
    grid = grid_of(opset.fake_quantize(taken, *ends, *ends, 256))
    assert grid is not None
    assert grid.scale[0] == pytest.approx(0.01, rel=1e-6)
    assert grid.zero_point == (128,)
