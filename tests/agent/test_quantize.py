"""Quantizing against the formula real = (stored - zero_point) * scale, worked out in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgekit_agent.errors import InputDataError
from edgekit_agent.quantize import to_real, to_stored
from edgekit_agent.runtimes.base import TensorSpec


def spec(dtype: str, scale: tuple[float, ...] = (), zero: tuple[int, ...] = (), axis: int = 0) -> TensorSpec:
    return TensorSpec(name="x", shape=(-1,), dtype=dtype, scale=scale, zero_point=zero, axis=axis)


@given(
    values=hnp.arrays(np.float32, 16, elements=st.floats(-1000, 1000, width=32)),
    scale=st.floats(1e-3, 10),
    zero=st.integers(-128, 127),
)
def test_there_and_back_is_off_by_half_a_step_at_most(
    values: "np.ndarray[tuple[int], np.dtype[np.float32]]", scale: float, zero: int
) -> None:
    one = spec("int8", (scale,), (zero,))
    low, high = (-128 - zero) * scale, (127 - zero) * scale
    back = np.asarray(to_real(to_stored(values, one), one), dtype=np.float64)
    # half a step, and float32's rounding of the quotient
    assert np.all(np.abs(back - np.clip(values.astype(np.float64), low, high)) <= scale * 0.5001 + 1e-4)


def test_rounds_half_to_even_and_saturates() -> None:
    stored = to_stored(np.array([0.5, 1.5, 2.5, -0.5, 1e9, -1e9, np.inf], dtype=np.float32), spec("int8", (1.0,), (0,)))
    assert stored.tolist() == [0, 2, 2, 0, 127, -128, 127]


def test_each_channel_has_its_own_scale() -> None:
    one = spec("int8", (1.0, 0.5), (0, 10), axis=1)
    stored = to_stored(np.array([[3.0, 3.0], [-1.0, -1.0]], dtype=np.float32), one)
    assert stored.tolist() == [[3, 16], [-1, 8]]
    assert to_real(stored, one).tolist() == [[3.0, 3.0], [-1.0, -1.0]]


def test_the_limits_of_32_bits_are_not_overrun() -> None:
    stored = to_stored(np.array([1e30, -1e30], dtype=np.float32), spec("int32", (1.0,), (0,)))
    assert stored.tolist() == [2**31 - 1, -(2**31)]


def test_stored_values_stay_as_they_are() -> None:
    stored = np.array([-128, 5], dtype=np.int8)
    assert to_stored(stored, spec("int8", (0.5,), (3,))).tolist() == [-128, 5]


def test_whole_numbers_of_another_type_are_real_values_for_a_quantized_input() -> None:
    """Pixels of 0 to 255 for an int8 model: the evaluation of the float model took them for numbers too."""
    stored = to_stored(np.array([0, 128, 255], dtype=np.uint8), spec("int8", (1.0,), (-128,)))
    assert stored.tolist() == [-128, 0, 127]


@pytest.mark.parametrize("values", [[300.0], [-1.0], [np.nan], [np.inf]], ids=str)
def test_what_an_unquantized_input_cannot_hold_is_refused(values: list[float]) -> None:
    with pytest.raises(InputDataError, match="'x' is uint8"):
        to_stored(np.array(values, dtype=np.float32), spec("uint8"))


def test_what_is_not_a_number_is_refused_by_a_quantized_input() -> None:
    with pytest.raises(InputDataError, match="not a number"):
        to_stored(np.array([0.5, np.nan], dtype=np.float32), spec("int8", (0.1,), (0,)))


def test_whole_numbers_that_do_not_fit_are_refused_and_not_wrapped() -> None:
    with pytest.raises(InputDataError):
        to_stored(np.array([200]), spec("int8"))


@pytest.mark.parametrize("kind", ["float64", "float16", "uint8", "bool"])
def test_a_float_input_takes_every_number(kind: str) -> None:
    stored = to_stored(np.array([1, 0], dtype=kind), spec("float32"))
    assert (stored.dtype.name, stored.tolist()) == ("float32", [1.0, 0.0])


def test_an_empty_array_stays_empty() -> None:
    assert to_stored(np.zeros((0, 4), dtype=np.float32), spec("int8", (1.0,), (0,))).shape == (0, 4)
