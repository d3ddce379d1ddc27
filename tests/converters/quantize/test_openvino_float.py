"""Layers of an int8 model given their float form back: those compute as the float model's, the others as before."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from edgekit_converters.backends.openvino_float import halve, key, relax, respread

pytestmark = pytest.mark.slow

Model = Any
_LAYERS = {"Convolution", "GroupConvolution", "MatMul", "Add", "Multiply", "AvgPool", "ReduceMean", "Sigmoid", "HSwish"}


def _images() -> tuple[Any, Any, Any, Callable[..., Any]]:
    from openvino import opset13 as op

    rng = np.random.default_rng(0)
    x = op.parameter([1, 3, 10, 10], np.float32, name="x")

    def conv(value: Any, name: str, shape: Sequence[int], *, bias: bool = True, groups: bool = False) -> Any:
        fan_in = np.prod(shape[2:] if groups else shape[1:])
        weights = op.constant((rng.normal(size=shape) * np.sqrt(2 / fan_in)).astype(np.float32))
        make = op.group_convolution if groups else op.convolution
        pad = [shape[-1] // 2] * 2
        made = make(value, weights, [1, 1], pad, pad, [1, 1])
        made.set_friendly_name(name)
        if not bias:
            return made
        channels = shape[0]
        added = op.add(made, op.constant(rng.normal(size=(1, channels, 1, 1)).astype(np.float32)))
        added.set_friendly_name(f"{name}/bias")
        return added

    return op, rng, x, conv


def _chain() -> Model:
    op, _, x, conv = _images()
    a = op.relu(conv(x, "conv1", (8, 3, 3, 3)))
    d = op.relu(conv(a, "depthwise", (8, 1, 1, 3, 3), bias=False, groups=True))
    return _model(conv(d, "conv2", (6, 8, 1, 1)), x)


def _carried() -> Model:
    """A grid before a Concat and a MaxPool whose value two layers take."""
    op, _, x, conv = _images()
    a, b = (op.relu(conv(x, name, (4, 3, 3, 3))) for name in ("conv1", "conv2"))
    joined = op.concat([a, b], 1)
    joined.set_friendly_name("joined")
    pooled = op.max_pool(joined, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2], "floor", "explicit", "i64", 0).output(0)
    pooled.get_node().set_friendly_name("pooled")
    left, right = (conv(pooled, name, (5, 8, 1, 1)) for name in ("left", "right"))
    return _model(op.concat([left, right], 1), x)


def _sum() -> Model:
    """An Add of values with grids of their own, and a value that goes to three layers."""
    op, _, x, conv = _images()
    a = op.relu(conv(x, "conv1", (8, 3, 3, 3)))
    b, c = conv(a, "conv2", (8, 8, 3, 3)), conv(a, "conv3", (8, 8, 1, 1), bias=False)
    one, two = op.add(b, c), None
    one.set_friendly_name("sum1")
    two = op.add(op.relu(one), a)
    two.set_friendly_name("sum2")
    return _model(conv(two, "conv4", (4, 8, 1, 1)), x)


def _dense() -> Model:
    from openvino import opset13 as op

    rng = np.random.default_rng(0)
    x = op.parameter([1, 6, 32], np.float32, name="x")

    def matmul(value: Any, name: str, *shape: int) -> Any:
        made = op.matmul(
            value, op.constant((rng.normal(size=shape) / 5).astype(np.float32)), transpose_a=False, transpose_b=False
        )
        made.set_friendly_name(name)
        return made

    q, k = matmul(x, "q", 32, 16), matmul(x, "k", 32, 16)
    product = op.matmul(q, k, transpose_a=False, transpose_b=True)
    product.set_friendly_name("product")
    return _model(matmul(op.relu(product), "last", 6, 4), x)


def _model(last: Any, x: Any) -> Model:
    import openvino

    return openvino.Model([last], [x], "m")


NETS: Mapping[str, Callable[[], Model]] = {"chain": _chain, "carried": _carried, "sum": _sum, "dense": _dense}


@pytest.fixture(scope="module")
def int8() -> Callable[[str], tuple[Model, Model]]:
    """Return a net's float form, and its int8 form with grids as NNCF sets them."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # how an import is refused
    nncf = pytest.importorskip("nncf")
    made: dict[str, tuple[Model, Model]] = {}

    def give(name: str) -> tuple[Model, Model]:
        if name not in made:
            model = NETS[name]()
            shape, rng = list(model.input(0).shape), np.random.default_rng(1)
            data = nncf.Dataset([{"x": rng.normal(size=shape).astype(np.float32)} for _ in range(8)])
            made[name] = model, nncf.quantize(model.clone(), data, subset_size=8, fast_bias_correction=False)
        return made[name][0].clone(), made[name][1].clone()

    return give


def _layers(model: Model) -> list[str]:
    return [one.get_friendly_name() for one in model.get_ordered_ops() if one.get_type_name() in _LAYERS]


def _run(model: Model, values: Sequence[str] = ()) -> dict[str, Any]:
    """Return what the named nodes compute, and `out`, on one sample; nothing of it is fused."""
    import openvino
    from openvino import opset13 as op

    shown = {one.get_friendly_name(): one for one in model.get_ordered_ops()}
    results = [*model.get_results(), *(op.result(shown[one].output(0)) for one in values)]
    whole = openvino.Model(results, model.get_parameters())
    config = {"INFERENCE_PRECISION_HINT": "f32", "LP_TRANSFORMS_MODE": "DISABLE"}
    try:
        compiled = openvino.Core().compile_model(whole, "CPU", config)
    except RuntimeError:
        compiled = openvino.Core().compile_model(whole, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    sample = np.random.default_rng(7).normal(size=list(model.input(0).shape)).astype(np.float32)
    answer = compiled([sample])
    return {name: np.array(answer[at]) for at, name in enumerate(("out", *values))}


def _grids(model: Model) -> int:
    return sum(one.get_type_name() == "FakeQuantize" for one in model.get_ordered_ops())


@pytest.mark.parametrize("name", NETS)
def test_all_layers_in_float_are_the_float_model(name: str, int8: Callable[[str], tuple[Model, Model]]) -> None:
    source, quantized = int8(name)
    before = _run(quantized)["out"]
    wanted = _run(source)["out"]
    assert not np.allclose(before, wanted, rtol=1e-4, atol=1e-4)
    relax(quantized, source, [one.get_friendly_name() for one in source.get_ordered_ops()])
    assert _grids(quantized) == 0
    assert np.allclose(_run(quantized)["out"], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "layer"), [("sum", "conv2"), ("dense", "q")])
def test_layers_in_float_take_half_the_room_and_compute_the_same(
    name: str, layer: str, int8: Callable[[str], tuple[Model, Model]]
) -> None:
    source, quantized = int8(name)
    relax(quantized, source, [layer])
    wanted, grids = _run(quantized)["out"], _grids(quantized)
    assert _large(quantized) == ["f32"]
    halve(quantized)
    assert _large(quantized) == ["f16"]
    assert _grids(quantized) == grids
    assert np.allclose(_run(quantized)["out"], wanted, atol=2e-2 * np.abs(wanted).max())


def _large(model: Model) -> list[str]:
    constants = [one for one in model.get_ordered_ops() if one.get_type_name() == "Constant"]
    kinds = [one.get_element_type().get_type_name() for one in constants if one.get_data().size >= 512]
    return [one for one in kinds if one.startswith("f")]


@pytest.mark.parametrize(
    ("net", "layer"),
    [(net, layer) for net, layers in {
        "chain": ("conv1", "depthwise", "conv2"),
        "carried": ("conv1", "left", "right"),
        "sum": ("conv1", "conv3", "sum1", "sum2", "conv4"),
        "dense": ("q", "product", "last"),
    }.items() for layer in layers],
)  # fmt: skip
def test_one_layer_in_float_computes_as_in_the_float_model_and_the_others_stay(
    net: str, layer: str, int8: Callable[[str], tuple[Model, Model]]
) -> None:
    source, quantized = int8(net)
    others = [one for one in _layers(source) if one != layer and not re.match(rf"{layer}/bias$", one)]
    before = {one: _incoming(quantized, one) for one in others}
    relax(quantized, source, [layer])
    assert _incoming(quantized, layer) == _incoming(source, layer)
    assert {one: _incoming(quantized, one) for one in others} == before
    assert set(_layers(source)) <= set(_layers(quantized))


def _incoming(model: Model, name: str) -> list[Any]:
    """Return what a layer takes, through what only carries values: from a grid or not, or which constants."""
    node = next(one for one in model.get_ordered_ops() if one.get_friendly_name() == name)

    def told(port: Any) -> Any:
        maker = port.get_node()
        kind = maker.get_type_name()
        if kind == "Constant":
            return str(maker.get_element_type()), hash(maker.get_data().tobytes())
        if kind == "FakeQuantize":
            return "grid", told(maker.input_value(0))
        if kind in {"Concat", "MaxPool", "Convert", "Multiply", "Subtract"}:
            return kind, [told(one) for one in maker.input_values()]
        return maker.get_friendly_name()

    return [told(port) for port in node.input_values()]


def test_layers_that_are_not_there_change_nothing(int8: Callable[[str], tuple[Model, Model]]) -> None:
    source, quantized = int8("chain")
    before = _run(quantized)["out"]
    relax(quantized, source, ["nowhere", "x"])
    assert np.array_equal(_run(quantized)["out"], before)


def test_a_chain_of_a_thousand_layers_is_no_matter(int8: Callable[[str], tuple[Model, Model]]) -> None:
    import openvino
    from openvino import opset13 as op

    int8("chain")
    x = op.parameter([1, 4], np.float32, name="x")
    value = x
    for at in range(1500):
        value = op.relu(value)
        value.set_friendly_name(f"relu{at}")
    last = op.add(value, value)
    last.set_friendly_name("last")
    model = openvino.Model([last], [x], "deep")
    relax(model, model.clone(), ["last", "relu7"])
    assert len(_layers(model)) == 1


def _limits(model: Model) -> dict[str, tuple[float, float]]:
    return {
        key(one.input_value(0)): tuple(float(one.input_value(at).get_node().get_data().ravel()[0]) for at in (1, 2))  # type: ignore[misc]  # two
        for one in model.get_ordered_ops()
        if one.get_type_name() == "FakeQuantize"
    }


def test_grids_spread_over_other_ranges_keep_their_form_and_0(int8: Callable[[str], tuple[Model, Model]]) -> None:
    _, quantized = int8("sum")
    before = _limits(quantized)
    wanted = {name: (0.5 * low, 0.3 * high) for name, (low, high) in before.items()}
    assert respread(quantized, wanted) == len(before)
    for name, (low, high) in _limits(quantized).items():
        step = (high - low) / 255
        assert abs(low / step - round(low / step)) < 1e-3
        if before[name][0] == 0:
            assert low == 0
            assert high == pytest.approx(wanted[name][1], rel=1e-4)
        elif abs(before[name][0] + before[name][1]) < 2.5 * step:
            assert low + high == pytest.approx(-step, rel=1e-2)  # symmetric: a value more below 0
            assert low <= wanted[name][0] + 1e-6
            assert high >= wanted[name][1] - 1e-6
        else:
            assert (low, high) == pytest.approx(wanted[name], abs=1.01 * step)


@pytest.mark.parametrize("limits", [(0.0, 0.0), (0.0, 1e-30), (-1e-30, 0.0)])
def test_a_range_of_nothing_is_no_grid_of_nothing(
    limits: tuple[float, float], int8: Callable[[str], tuple[Model, Model]]
) -> None:
    _, quantized = int8("chain")
    respread(quantized, dict.fromkeys(_limits(quantized), limits))
    assert all(high > low for low, high in _limits(quantized).values())
    assert np.isfinite(_run(quantized)["out"]).all()


def test_ranges_of_other_values_change_nothing(int8: Callable[[str], tuple[Model, Model]]) -> None:
    _, quantized = int8("chain")
    before = _limits(quantized)
    assert respread(quantized, {"other:0": (-1, 1)}) == 0
    assert _limits(quantized) == before
