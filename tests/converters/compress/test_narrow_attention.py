"""Attention that sees fewer keys: what a mask written into the model by hand gives, and the band alone computed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit_converters.compress import technique_for
from tests.converters.compress import attention_nets as nets

FORMS = {"window": "form=window,size=2", "block": "form=block,size=2", "wide": "form=window,size=4"}


def _shown(how: str, length: int) -> Any:
    i, j = np.arange(length)[:, None], np.arange(length)[None]
    if "block" in how:
        return abs(i // 2 - j // 2) <= 1
    return abs(i - j) <= (4 if "size=4" in how else 2)


def _by_hand(proto: Any, shown: Any) -> Any:
    """Return the model with a large negative number wherever a key is not shown, right before each softmax."""
    import onnx
    from onnx import helper, numpy_helper

    made = onnx.ModelProto()
    made.CopyFrom(proto)
    made.graph.initializer.append(numpy_helper.from_array(np.where(shown, 0.0, -1e9).astype(np.float32), "by_hand"))
    for at in reversed(range(len(made.graph.node))):
        node = made.graph.node[at]
        if node.op_type == "Softmax":
            made.graph.node.insert(at, helper.make_node("Add", [node.input[0], "by_hand"], [f"{node.input[0]}/hand"]))
            made.graph.node[at + 1].input[0] = f"{node.input[0]}/hand"
    onnx.checker.check_model(made)
    return made


def _narrowed(proto: Any, text: str, work: Path) -> tuple[Any, Any]:
    model = nets.plain(proto)
    effect = technique_for("attention").apply(model, nets.step(text), nets.setting(work, None))
    nets.counted(model)
    return model, effect


def _real(y: Any, feeds: Any) -> Any:
    """Return what is given for real tokens: others see whatever is left of their row."""
    return y[feeds["mask"] > 0] if "mask" in feeds else y


@pytest.mark.parametrize("compute", ["", ",masked"], ids=["band", "masked"])
@pytest.mark.parametrize("how", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("style", nets.STYLES)
def test_the_outputs_are_those_of_a_mask_by_hand(style: str, how: str, compute: str, work: Path) -> None:
    proto, feeds = nets.encoder(style, layers=2), nets.samples(12, masked=style != "merged")
    model, effect = _narrowed(proto, f"attention:{how}{compute}", work)
    assert len(effect.changes) == 2
    wanted = nets.ran(_by_hand(proto, _shown(how, nets.LENGTH)), feeds)["y"]
    assert np.allclose(_real(nets.ran(model, feeds)["y"], feeds), _real(wanted, feeds), atol=1e-4)
    assert not np.allclose(_real(nets.ran(proto, feeds)["y"], feeds), _real(wanted, feeds), atol=1e-3)


@pytest.mark.parametrize("style", nets.STYLES)
@pytest.mark.parametrize("how", FORMS.values(), ids=FORMS)
def test_a_band_gives_what_the_mask_gives_for_padding_too(style: str, how: str, work: Path) -> None:
    proto, feeds = nets.encoder(style), nets.samples(8, masked=style != "merged")
    band, _ = _narrowed(proto, f"attention:{how}", work)
    masked, _ = _narrowed(proto, f"attention:{how},masked", work)
    assert np.allclose(nets.ran(band, feeds)["y"], nets.ran(masked, feeds)["y"], atol=1e-4)


def test_a_free_length_takes_the_mask(work: Path) -> None:
    proto, feeds = nets.encoder(free=True), nets.samples(4)
    for how in FORMS.values():
        model, _ = _narrowed(proto, f"attention:{how},masked", work)
        wanted = nets.ran(_by_hand(proto, _shown(how, nets.LENGTH)), feeds)["y"]
        assert np.allclose(_real(nets.ran(model, feeds)["y"], feeds), _real(wanted, feeds), atol=1e-4)


@pytest.mark.parametrize("free", [False, True], ids=["fixed", "free"])
def test_the_highest_scores_alone_have_weight(free: bool, work: Path) -> None:
    import onnx_ir as ir

    model, _ = _narrowed(nets.encoder(free=free, layers=1), "attention:form=topk,size=2", work)
    softmax = next(node for node in model.graph if node.op_type == "Softmax")
    model.graph.outputs.append(softmax.outputs[0])
    softmax.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    softmax.outputs[0].shape = ir.Shape([nets.BATCH, nets.HEADS, nets.LENGTH, nets.LENGTH]) if not free else None
    feeds = nets.samples(4)
    if free:
        softmax.outputs[0].shape = ir.Shape(["batch", nets.HEADS, "length", "length"])
    weights = nets.ran(model, feeds)[str(softmax.outputs[0].name)]
    assert ((weights > 0).sum(axis=-1) == 2)[feeds["mask"].sum(axis=1) >= 2].all()


@settings(deadline=None, max_examples=15)
@given(
    length=st.integers(4, 17), size=st.integers(1, 6), form=st.sampled_from(["window", "block"]), seed=st.integers(0, 9)
)
def test_any_length_and_size(
    length: int, size: int, form: str, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    net = nets.Net(seed)
    bias = net.random(nets.HEADS, length, length, scale=1.0)
    columns = net.random(length, scale=1.0)
    nets.separate(net, "x", net.op("Add", bias, columns))
    net.nodes[-1].output[0] = "y"
    shape = [nets.BATCH, length, nets.WIDTH]
    proto = net.model({"x": (1, shape)}, {"y": (1, shape)})
    feeds = {"x": np.random.default_rng(seed).normal(size=shape).astype(np.float32)}
    i, j = np.arange(length)[:, None], np.arange(length)[None]
    shown = abs(i - j) <= size if form == "window" else abs(i // size - j // size) <= 1
    if shown.all():
        return
    model, _ = _narrowed(proto, f"attention:form={form},size={size}", tmp_path_factory.mktemp("work"))
    wanted = nets.ran(_by_hand(proto, shown), feeds)["y"]
    assert np.allclose(nets.ran(model, feeds)["y"], wanted, atol=1e-4)


def test_a_band_has_fewer_multiplications(work: Path) -> None:
    from edgekit_converters.compress.figures import infer_shapes, static_figures
    from edgekit_converters.graph import model as graph_model

    macs = {}
    proto = _long()
    for text in ("attention:size=4", "attention:size=4,masked"):
        model, effect = _narrowed(proto, text, work)
        infer_shapes(model)
        graph_model.save(model, work / "net.onnx")
        macs[text] = static_figures(model, work / "net.onnx")["macs"]
    assert effect.changes[0].figures["seen"] == pytest.approx((64 * 9 - 20) / 64**2)
    projections = nets.BATCH * 64 * nets.WIDTH**2 * 4
    assert macs["attention:size=4,masked"] == projections + 2 * nets.BATCH * 64 * 64 * nets.WIDTH
    assert macs["attention:size=4"] == projections + 2 * nets.BATCH * 64 * 12 * nets.WIDTH


def _long(length: int = 64) -> Any:
    net = nets.Net()
    nets.separate(net, "x", None)
    net.nodes[-1].output[0] = "y"
    shape = [nets.BATCH, length, nets.WIDTH]
    return net.model({"x": (1, shape)}, {"y": (1, shape)})


def test_cross_attention_is_left_with_the_reason(work: Path) -> None:
    net = nets.Net()
    query = net.op("Transpose", net.op("Reshape", "x", net.ints(0, 0, nets.HEADS, nets.DIM)), perm=[0, 2, 1, 3])
    other = net.op("Reshape", "z", net.ints(0, 0, nets.HEADS, nets.DIM))
    key, value = net.op("Transpose", other, perm=[0, 2, 3, 1]), net.op("Transpose", other, perm=[0, 2, 1, 3])
    nets._core(net, query, key, value, None)
    net.nodes[-1].output[0] = "y"
    shapes = {"x": (1, [1, 6, nets.WIDTH]), "z": (1, [1, 9, nets.WIDTH])}
    model = nets.plain(net.model(shapes, {"y": (1, [1, nets.HEADS, 6, nets.DIM])}))
    why = technique_for("attention").check(model, nets.step("attention:size=2"), nets.setting(work, None))
    assert why is not None
    assert "its 6 queries and 9 keys are not of one sequence" in why


@pytest.mark.parametrize(
    ("free", "step", "why"),
    [
        (True, "attention:size=2", "its length is free, and a band needs a fixed one: give --shape"),
        (False, "attention:size=64", "size=64 leaves out none of its 6 keys"),
        (False, "attention:form=block,size=3", "size=3 leaves out none of its 6 keys"),
        (False, "attention:form=topk,size=6", "size=6 leaves out none of its 6 keys"),
    ],
)
def test_what_would_change_nothing_or_cannot_be_is_refused(free: bool, step: str, why: str, work: Path) -> None:
    model = nets.plain(nets.encoder(free=free))
    said = technique_for("attention").check(model, nets.step(step), nets.setting(work, None))
    assert said is not None
    assert why in said
