"""Tiles as a technique: memory falls as its plan says, and what cannot be cut is refused with the reason."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.compress.base import Setting
from edgekit_converters.compress.engine import compress
from edgekit_converters.compress.figures import infer_shapes
from edgekit_converters.compress.steps import parse_step
from edgekit_converters.compress.tile import Tile
from edgekit_converters.compress.tile_memory import MemoryModel
from edgekit_converters.errors import PrecisionError, UnsupportedError
from edgekit_converters.graph.oracle import session
from edgekit_converters.jobs import JobRunner
from tests.converters.compress.image_nets import Stack


def early(sizes: tuple[int, int] = (64, 64)) -> Stack:
    """A net as small ones are: its first layers take nearly all of the memory."""
    stack = Stack(1, 3, sizes)
    stack.conv(8, (3, 3), strides=[2, 2], pads=[0, 0, 1, 1])
    stack.add("Relu")
    stack.conv(8, (3, 3), group=8, pads=[1, 1, 1, 1])
    stack.add("Relu")
    stack.conv(32, (1, 1))
    stack.add("Relu")
    stack.conv(32, (3, 3), group=32, strides=[2, 2], pads=[0, 0, 1, 1])
    stack.add("Relu")
    stack.conv(8, (1, 1))
    stack.add("GlobalAveragePool")
    return stack


def read(stack: Stack) -> Any:
    import onnx_ir as ir

    model = ir.serde.deserialize_model(stack.proto())
    infer_shapes(model)
    return model


def setting(tmp_path: Path, only: frozenset[str] | None = None) -> Setting:
    return Setting(work=tmp_path, source=tmp_path / "m.onnx", only=only)


def values(text: str) -> Any:
    return parse_step(text).values


def why(stack: Stack, tmp_path: Path, text: str = "tile") -> str | None:
    return Tile().check(read(stack), values(text), setting(tmp_path))


@pytest.mark.parametrize("runtime", ["tflite-micro", "litert"])
@pytest.mark.parametrize("bits", [8, 32])
def test_the_arena_becomes_smaller_and_is_what_the_plan_of_the_new_graph_says(
    runtime: str, bits: int, tmp_path: Path
) -> None:
    model = read(early())
    effect = Tile().apply(model, values(f"tile:runtime={runtime},bits={bits}"), setting(tmp_path))
    (change, *_) = effect.changes
    memory = MemoryModel(bits=bits, keeps_inputs=runtime == "litert")
    assert effect.figures["arena_bytes_before"] == memory.plan(read(early()).graph).bytes
    assert effect.figures["arena_bytes"] == memory.plan(model.graph).bytes
    assert memory.plan(model.graph).bytes < 0.8 * memory.plan(read(early()).graph).bytes
    assert change.figures["extra_macs"] != 0


def test_the_plan_knows_what_tflite_fuses_and_pads() -> None:
    stack = Stack(1, 4, (16, 16), batch=1)
    stack.conv(4, (3, 3), pads=[1, 1, 1, 1])  # SAME
    stack.add("Relu")
    assert MemoryModel(bits=8).plan(read(stack).graph).bytes == 2 * 4 * 256
    stack = Stack(1, 4, (16, 16), batch=1)
    stack.conv(4, (3, 3), strides=[2, 2], pads=[1, 1, 1, 1])  # SAME pads behind only
    assert MemoryModel(bits=8).plan(read(stack).graph).bytes == 4 * (256 + 18 * 18) + 48  # aligned to 64


def test_a_budget_is_met_with_the_least_that_is_computed_twice(tmp_path: Path) -> None:
    tight, loose = (
        Tile().apply(read(early()), values(f"tile:budget={budget}"), setting(tmp_path)) for budget in (28000, 36000)
    )
    for effect, budget in ((tight, 28000), (loose, 36000)):
        assert float(str(effect.figures["arena_bytes"])) <= budget
        assert not effect.left
    extra = [sum(float(str(one.figures["extra_macs"])) for one in effect.changes) for effect in (tight, loose)]
    assert extra[1] <= extra[0]


def test_a_budget_that_cannot_be_met_is_said(tmp_path: Path) -> None:
    effect = Tile().apply(read(early()), values("tile:budget=1000"), setting(tmp_path))
    assert effect.changes
    assert "more than the budget of 1000" in effect.left[0].why


def test_tiles_are_as_many_as_asked_for(tmp_path: Path) -> None:
    model = read(early())
    effect = Tile().apply(model, values("tile:rows=2,columns=3"), setting(tmp_path))
    assert "2 x 3 tiles" in effect.changes[0].what
    assert len(effect.changes) == 1
    joins = [node for node in model.graph if node.op_type == "Concat"]
    assert [len(node.inputs) for node in joins] == [3, 3, 2]


def test_only_layers_that_were_named_are_cut(tmp_path: Path) -> None:
    stack = early()
    only = frozenset({"Conv2", "Conv4", "Conv6"})
    model = read(stack)
    Tile().apply(model, values("tile"), setting(tmp_path, only))
    assert "Conv0" in {node.name for node in model.graph}
    assert "Conv4" not in {node.name for node in model.graph}
    nothing = Tile().check(read(stack), values("tile"), setting(tmp_path, frozenset({"Conv8"})))
    assert nothing is not None


def globally(stack: Stack) -> None:
    stack.conv(16, (3, 3))
    gate = stack.add("GlobalAveragePool")
    stack.add("Mul", "v0", gate)


def softmax(axis: int) -> Callable[[Stack], None]:
    def build(stack: Stack) -> None:
        stack.conv(16, (3, 3))
        stack.add("Softmax", axis=axis)
        stack.conv(1, (3, 3))

    return build


def resized(stack: Stack) -> None:
    scales = stack.stored(np.asarray([1, 1, 2, 2], np.float32))
    stack.add("Resize", "x", "", scales, mode="linear")
    stack.conv(1, (3, 3))


def mirrored(stack: Stack) -> None:
    stack.add("Pad", "x", stack.stored(np.asarray([0, 0, 1, 1, 0, 0, 1, 1])), mode="reflect")
    stack.conv(1, (3, 3))


def placed(stack: Stack) -> None:
    stack.add("Add", "x", stack.stored(stack.rng.normal(size=(16, 16)).astype(np.float32)))
    stack.conv(1, (3, 3))


def transposed(stack: Stack) -> None:
    stack.add("ConvTranspose", "x", stack.stored(stack.rng.normal(size=(3, 4, 2, 2)).astype(np.float32)))


def normed(stack: Stack) -> None:
    one = stack.stored(np.ones(3, np.float32))
    stack.add("InstanceNormalization", "x", one, one)


def counted(stack: Stack) -> None:
    stack.add("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, ceil_mode=1, count_include_pad=1)


NEAR_MISSES: dict[str, tuple[Callable[[Stack], None], str]] = {
    "global pooling": (globally, "'GlobalAveragePool1' (GlobalAveragePool): it looks at all places of the image"),
    "softmax over a line": (softmax(3), "(Softmax): it looks at all places of the image at once"),
    "resize": (resized, "(Resize): what it makes lies between the places of the image"),
    "mirrored edges": (mirrored, "(Pad): it repeats the image at its edges"),
    "a constant a place": (placed, "is not the same at every place"),
    "transposed convolution": (transposed, "(ConvTranspose): what it makes lies between the places"),
    "norm over the image": (normed, "(InstanceNormalization): it looks at all places of the image at once"),
    "counted padding": (counted, "it counts padding, and has places that are neither"),
}


@pytest.mark.parametrize(("build", "reason"), NEAR_MISSES.values(), ids=NEAR_MISSES)
def test_what_does_not_work_place_by_place_is_refused(
    build: Callable[[Stack], None], reason: str, tmp_path: Path
) -> None:
    stack = Stack(1, 3, (16, 16))
    build(stack)
    said = why(stack, tmp_path)
    if said is None:
        effect = Tile().apply(read(stack), values("tile"), setting(tmp_path))
        assert not effect.changes
        said = effect.left[0].why
    assert reason in said


def test_softmax_over_the_channels_is_local(tmp_path: Path) -> None:
    stack = Stack(1, 3, (16, 16))
    softmax(1)(stack)
    assert Tile().apply(read(stack), values("tile"), setting(tmp_path)).changes


def test_an_image_of_a_free_size_is_refused(tmp_path: Path) -> None:
    stack = early()
    stack.first = ["batch", 3, "height", 64]
    assert "the size of the image 'x' is free: it must be fixed" in str(why(stack, tmp_path))


def test_a_graph_within_the_budget_is_left_as_it_is(tmp_path: Path) -> None:
    assert "within the budget as it is" in str(why(early(), tmp_path, "tile:budget=1000000"))


@pytest.mark.parametrize("text", ["tile:rows=-1", "tile:bits=4", "tile:runtime=onnx", "tile:tiles=2x2", "tile:extra=x"])
def test_bad_options_are_refused_while_they_are_read(text: str) -> None:
    with pytest.raises(PrecisionError, match=r"option|has no"):
        parse_step(text)


def test_the_engine_proves_it_and_counts(tmp_path: Path) -> None:
    import onnx

    stack, path = early(), tmp_path / "net.onnx"
    onnx.save(stack.proto(), path)
    jobs = JobRunner(log=tmp_path / "log")
    done = compress(path, [parse_step("tile:rows=4,columns=1")], jobs, tmp_path)
    (stage,) = done.stages
    assert stage.exact
    assert stage.after["parameters"] == stage.before["parameters"]
    assert Counter(node.op_type for node in onnx.load(done.path).graph.node)["Slice"] == 4
    image = stack.image(3)
    (got,) = session(onnx.load(done.path)).run(None, {"x": image})
    (wanted,) = session(onnx.load(path)).run(None, {"x": image})
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    with pytest.raises(UnsupportedError, match="technique tile:budget=900000 cannot be done to model"):
        compress(path, [parse_step("tile:budget=900000")], jobs, tmp_path)
