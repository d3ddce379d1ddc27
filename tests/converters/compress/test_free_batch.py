"""A fixed batch made free for the time of a step: only where the model computes the same, and fixed again behind."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit_converters.compress import free_batch
from edgekit_converters.compress.engine import compress
from edgekit_converters.compress.figures import infer_shapes
from edgekit_converters.compress.steps import parse_steps
from edgekit_converters.graph.oracle import session
from edgekit_converters.graph.plain import make_plain
from edgekit_converters.jobs import JobRunner
from tests.converters.compress.image_nets import Stack, grow


def plain(proto: Any) -> Any:
    import onnx_ir as ir

    model = ir.serde.deserialize_model(proto)
    make_plain(model)
    infer_shapes(model)
    return model


def classifier(batch: int | str) -> Stack:
    """A convolution and a dense layer with a reshape between them, as PyTorch writes `x.view(1, -1)`."""
    stack = Stack(3, 3, (8, 8), batch)
    stack.conv(8, (3, 3))
    stack.add("Relu")
    stack.conv(8, (3, 3), pads=[1, 1, 1, 1])
    one = batch if isinstance(batch, int) else 0
    stack.add("Reshape", stack.last, stack.stored(np.array([one, -1])))
    stack.add("MatMul", stack.last, stack.stored(stack.rng.normal(size=(288, 4)).astype(np.float32)))
    return stack


def ran(model: Any, x: Any) -> Any:
    import onnx_ir as ir

    return session(ir.serde.serialize_model(model)).run(None, {"x": x})


def samples(count: int, shape: tuple[int, ...]) -> Any:
    return np.random.default_rng(1).normal(size=(count, *shape)).astype(np.float32)


@pytest.mark.parametrize("size", [1, 2])
def test_a_reshape_to_the_batch_keeps_any_batch(size: int, tmp_path: Path) -> None:
    model, x = plain(classifier(size).proto()), samples(16, (3, 8, 8))
    found = free_batch.freed(model, {"x": x}, tmp_path)
    assert found is not None
    opened, fixed = found
    wanted = np.concatenate([ran(model, x[at : at + size])[0] for at in range(0, 16, size)])
    assert np.allclose(ran(opened, x)[0], wanted, atol=1e-4)
    fixed.again(opened)
    infer_shapes(opened)
    assert opened.graph.inputs[0].shape == (size, 3, 8, 8)
    assert opened.graph.outputs[0].shape == (size, 4)


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("op", ["Softmax", "ReduceMean"])
def test_a_model_that_mixes_its_samples_stays_as_it_is(op: str, size: int, tmp_path: Path) -> None:
    stack = Stack(3, 3, (8, 8), size)
    before = stack.conv(8, (3, 3))
    if op == "Softmax":
        stack.add("Softmax", axis=0)
    else:
        stack.add("Sub", before, stack.add("ReduceMean", axes=[0], keepdims=1))
    assert free_batch.freed(plain(stack.proto()), {"x": samples(16, (3, 8, 8))}, tmp_path) is None


def test_few_samples_are_not_worth_it(tmp_path: Path) -> None:
    model = plain(classifier(1).proto())
    assert free_batch.freed(model, {"x": samples(free_batch.LEAST - 1, (3, 8, 8))}, tmp_path) is None


def test_a_free_batch_has_nothing_to_be_freed(tmp_path: Path) -> None:
    model = plain(classifier("batch").proto())
    assert free_batch.freed(model, {"x": samples(16, (3, 8, 8))}, tmp_path) is None


@given(seed=st.integers(0, 2**16), data=st.data())
def test_what_is_freed_computes_the_same(
    seed: int, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stack = Stack(seed, 3, (8, 8), 1)
    grow(stack, lambda low, high: data.draw(st.integers(low, high)), 4)
    model, x = plain(stack.proto()), samples(9, (3, 8, 8))
    found = free_batch.freed(model, {"x": x}, tmp_path_factory.mktemp("free"))
    if found is not None:
        wanted = np.concatenate([ran(model, x[at : at + 1])[0] for at in range(9)])
        (got,) = ran(found[0], x)
        assert np.allclose(got, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())


@pytest.mark.parametrize("step", ["prune-channels:macs=0.6", "prune-weights:sparsity=0.5,by=obs"])
def test_a_step_gives_the_same_with_a_fixed_batch_as_with_a_free_one(step: str, tmp_path: Path) -> None:
    import onnx

    x, outputs = samples(40, (3, 8, 8)), []
    for batch in (1, "batch"):
        work = tmp_path / str(batch)
        work.mkdir()
        onnx.save(classifier(batch).proto(), work / "net.onnx")
        made = compress(work / "net.onnx", parse_steps([step]), JobRunner(log=work / "log"), work, calibration={"x": x})
        shape = onnx.load(made.path).graph.input[0].type.tensor_type.shape
        assert (shape.dim[0].dim_value or shape.dim[0].dim_param) == batch
        ready = session(made.path)
        runs = [x[at : at + 1] for at in range(40)] if batch == 1 else [x]
        outputs.append(np.concatenate([ready.run(None, {"x": one})[0] for one in runs]))
    fixed, free = outputs
    assert np.allclose(fixed, free, rtol=1e-3, atol=1e-3 * np.abs(free).max())
