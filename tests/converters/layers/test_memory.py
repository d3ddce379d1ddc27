"""The memory plan against LiteRT's own arena, and against sums made by hand."""

from pathlib import Path

import numpy as np
import pytest

from edgekit_converters import tflite_file
from edgekit_converters.layers import memory, tflite
from edgekit_converters.layers.view import Node, Value, View, from_json


def _chain(*sizes: int) -> View:
    """Values of so many bytes, each computed from the one before it."""
    values = tuple(Value(name=f"v{at}", shape=(size,), dtype="int8") for at, size in enumerate(sizes))
    nodes = tuple(Node(name=f"n{at}", op="OP", inputs=(at,), outputs=(at + 1,)) for at in range(len(sizes) - 1))
    return View(values=values, nodes=nodes, inputs=(0,), outputs=(len(sizes) - 1,))


def test_sizes_are_rounded_up_and_the_input_stays_to_the_end() -> None:
    plan = memory.plan(_chain(1, 100, 200, 10))
    assert [step.bytes for step in plan.steps] == [64 + 128, 64 + 128 + 256, 64 + 256 + 64]
    assert (plan.peak, plan.peak_bytes) == (1, 448)
    assert plan.steps[1].alive == (0, 1, 2)
    assert plan.lower_bound_bytes == 128 + 256


def test_a_value_waits_until_its_last_use() -> None:
    values = tuple(Value(name=name, shape=(64,), dtype="int8") for name in "abcd")
    nodes = (
        Node(name="first", op="OP", inputs=(0,), outputs=(1,)),
        Node(name="second", op="OP", inputs=(1,), outputs=(2,)),
        Node(name="sum", op="ADD", inputs=(1, 2), outputs=(3,)),
    )
    plan = memory.plan(View(values=values, nodes=nodes, inputs=(0,), outputs=(3,)))
    assert plan.steps[2].alive == (0, 1, 2, 3)
    assert plan.arena_bytes == 4 * 64


def test_inputs_are_kept_for_the_whole_run_or_given_back_after_their_last_use() -> None:
    chain = _chain(512, 64, 64, 64)
    kept, given_back = memory.plan(chain), memory.plan(chain, keeps_inputs=False)
    assert (kept.steps[-1].bytes, given_back.steps[-1].bytes) == (640, 128)
    assert given_back.steps[0].bytes == kept.steps[0].bytes


def test_constants_and_what_is_made_of_them_take_no_activation_memory() -> None:
    values = (
        Value(name="x", shape=(64,), dtype="int8"),
        Value(name="w", shape=(6400,), dtype="int8", constant=True),
        Value(name="w_float", shape=(6400,), dtype="float32"),
        Value(name="y", shape=(64,), dtype="int8"),
    )
    nodes = (
        Node(name="dequantize", op="DEQUANTIZE", inputs=(1,), outputs=(2,)),
        Node(name="dense", op="FULLY_CONNECTED", inputs=(0, 2), outputs=(3,)),
    )
    assert memory.plan(View(values=values, nodes=nodes, inputs=(0,), outputs=(3,))).peak_bytes == 128


def test_unknown_sizes_are_counted_and_not_guessed() -> None:
    values = (Value(name="x", shape=(8,), dtype="int8"), Value(name="y", shape=None, dtype="float32"))
    view = View(
        values=values, nodes=(Node(name="n", op="NonZero", inputs=(0,), outputs=(1,)),), inputs=(0,), outputs=(1,)
    )
    assert memory.plan(view).unknown == 1


def test_a_model_without_operators_has_no_peak() -> None:
    assert memory.plan(View(values=(), nodes=(), inputs=(), outputs=())).peak is None


def test_the_picture_survives_its_way_through_json() -> None:
    view = _chain(1, 2)
    assert from_json(view.to_json()) == view


@pytest.mark.parametrize("name", ["dense", "two"])
def test_litert_lays_activations_out_as_planned(repository: Path, name: str) -> None:
    path = repository / "tests/data/models" / f"{name}.tflite"  # nets without kernels that take scratch memory
    assert memory.plan(tflite.view(tflite_file.read(path))).arena_bytes == _span(path)


@pytest.mark.shared_data
def test_no_plan_is_larger_than_what_litert_takes(shared_data: Path) -> None:
    path = shared_data / "kws-dscnn" / "kws_ref_model.tflite"
    plan = memory.plan(tflite.view(tflite_file.read(path)))
    assert plan.lower_bound_bytes <= plan.peak_bytes <= plan.arena_bytes <= _span(path)


def _span(path: Path) -> int:
    """Return from where to where the tensors lie in LiteRT's memory, scratch of kernels in between included."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_path=str(path), experimental_op_resolver_type=plain)
    interpreter.allocate_tensors()
    ends: list[tuple[int, int]] = []
    for one in tflite_file.read(path).main.tensors:
        if not one.data_bytes:
            array = interpreter.tensor(one.index)()
            start = int(array.__array_interface__["data"][0])
            ends.append((start, start + -(-array.nbytes // memory.ALIGNMENT_BYTES) * memory.ALIGNMENT_BYTES))
            assert isinstance(array, np.ndarray)
    return max(high for _, high in ends) - min(low for low, _ in ends)
