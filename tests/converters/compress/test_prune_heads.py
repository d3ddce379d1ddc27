"""Heads taken out: what is left computes what the model computes whose layer behind takes nothing of those heads."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit_converters.compress import technique_for
from edgekit_converters.compress.attention.heads import heads_of
from edgekit_converters.compress.attention.pattern import Attention, attentions_of
from edgekit_converters.compress.blocks import shapes_seen
from tests.converters.compress import attention_nets as nets


def _silenced(proto: Any, kept_of: dict[int, list[int]]) -> Any:
    """Return the model with the contexts of heads that are gone multiplied by zero: the definition."""
    import onnx
    from onnx import helper, numpy_helper

    made = onnx.ModelProto()
    made.CopyFrom(proto)
    products = [at for at, one in enumerate(made.graph.node) if one.op_type == "MatMul" and _after_softmax(made, one)]
    for number, at in reversed(list(enumerate(products))):
        node = made.graph.node[at]
        stays = np.isin(np.arange(nets.HEADS), kept_of[number]).astype(np.float32).reshape(1, -1, 1, 1)
        made.graph.initializer.append(numpy_helper.from_array(stays, f"stays{number}"))
        whole, node.output[0] = node.output[0], f"{node.output[0]}/whole"
        made.graph.node.insert(at + 1, helper.make_node("Mul", [node.output[0], f"stays{number}"], [whole]))
    onnx.checker.check_model(made)
    return made


def _after_softmax(made: Any, node: Any) -> bool:
    made_by = {name: one for one in made.graph.node for name in one.output}
    above = made_by.get(node.input[0])
    while above is not None and above.op_type == "Where":
        above = made_by.get(above.input[2])
    return above is not None and above.op_type == "Softmax"


@pytest.mark.parametrize("free", [False, True], ids=["fixed", "free"])
@pytest.mark.parametrize("style", [one for one in nets.STYLES if one != "merged"])
def test_what_is_left_gives_what_it_gave_without_those_heads(style: str, free: bool, work: Path) -> None:
    proto = nets.encoder(style, free=free, layers=2)
    feeds = nets.samples()
    model = nets.plain(proto)
    before = nets.plain(proto)
    values = nets.step("prune-heads:ratio=0.5,refit=off,by=activation")
    effect = technique_for("prune-heads").apply(model, values, nets.setting(work, feeds))
    assert effect.figures["heads_gone"] == nets.HEADS
    gone = _gone(before, work, feeds, values)
    kept = {at: [one for one in range(nets.HEADS) if one not in some] for at, some in enumerate(gone)}
    wanted = nets.ran(_silenced(proto, kept), feeds)["y"]
    got = nets.ran(model, feeds)["y"]
    assert np.abs(got - wanted).max() < 1e-4 * np.abs(wanted).max()
    assert not np.allclose(wanted, nets.ran(proto, feeds)["y"], atol=1e-3)
    each = nets.WIDTH * nets.DIM * 4 + (0 if style == "computed" else 3 * nets.DIM)
    removed = nets.counted(before) - nets.counted(model)
    assert removed >= 4 * each


def _gone(model: Any, work: Path, feeds: Any, values: Any) -> list[list[int]]:
    """Return which heads the technique chooses of each attention."""
    from edgekit_converters.compress.attention.head_scores import taken
    from edgekit_converters.compress.attention.prune_heads import _found, _losses

    found, _, _ = _found(model, nets.setting(work, feeds))
    losses = _losses(model, found, str(values["by"]), nets.setting(work, feeds))
    return [gone for gone, _ in taken(losses, float(values["ratio"]), everywhere=values["scope"] == "layer")]


def test_heads_joined_with_the_batch_are_taken_out_too(work: Path) -> None:
    proto = nets.encoder("merged", layers=1)
    feeds = nets.samples(masked=False)
    model = nets.plain(proto)
    values = nets.step("prune-heads:ratio=0.5,refit=off")
    technique_for("prune-heads").apply(model, values, nets.setting(work, feeds))
    shapes = [tuple(one.const_value.shape.numpy()) for one in model.graph.initializers.values()]
    assert shapes.count((8, nets.WIDTH)) == 3
    assert (nets.WIDTH, 8) in shapes
    assert np.isfinite(nets.ran(model, feeds)["y"]).all()


@pytest.mark.parametrize("style", ["separate", "split"])
def test_a_refit_is_never_worse_and_better_where_heads_say_the_same(style: str, work: Path) -> None:
    proto, feeds = nets.encoder(style, layers=1), nets.samples(64)
    wanted = nets.ran(proto, feeds)["y"]
    errors = {}
    for refit in ("off", "on"):
        model = nets.plain(proto)
        values = nets.step(f"prune-heads:ratio=0.5,refit={refit}")
        effect = technique_for("prune-heads").apply(model, values, nets.setting(work, feeds))
        errors[refit] = float(np.linalg.norm(nets.ran(model, feeds)["y"] - wanted))
    assert errors["on"] < errors["off"]
    for one in effect.changes:
        assert float(one.figures["error"] or 0) <= float(one.figures["error_before_refit"] or 0)


@settings(deadline=None, max_examples=12)
@given(
    style=st.sampled_from(sorted(set(nets.STYLES) - {"merged"})),
    ratio=st.sampled_from(["0.25", "0.4", "0.75"]),
    by=st.sampled_from(["obs", "activation", "l2"]),
    scope=st.sampled_from(["global", "layer"]),
    seed=st.integers(0, 99),
)
def test_any_choice_of_heads_is_cut_exactly(  # noqa: PLR0913, PLR0917  # what is drawn
    style: str, ratio: str, by: str, scope: str, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    proto, feeds = nets.encoder(style, layers=2, seed=seed, pre=bool(seed % 2)), nets.samples(8, seed)
    work = tmp_path_factory.mktemp("work")
    values = nets.step(f"prune-heads:ratio={ratio},by={by},scope={scope},refit=off")
    model = nets.plain(proto)
    technique_for("prune-heads").apply(model, values, nets.setting(work, feeds))
    gone = _gone(nets.plain(proto), work, feeds, values)
    kept = {at: [one for one in range(nets.HEADS) if one not in some] for at, some in enumerate(gone)}
    wanted = nets.ran(_silenced(proto, kept), feeds)["y"]
    assert np.abs(nets.ran(model, feeds)["y"] - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_one_head_of_each_attention_stays(work: Path) -> None:
    model = nets.plain(nets.encoder(layers=2))
    technique = technique_for("prune-heads")
    effect = technique.apply(model, nets.step("prune-heads:ratio=0.8"), nets.setting(work, nets.samples()))
    assert [one.what for one in effect.changes] == ["1 of 4 heads left"] * 2


def test_a_bias_of_positions_a_head_is_cut_with_it(work: Path) -> None:
    net = nets.Net()
    bias = net.random(1, nets.HEADS, nets.LENGTH, nets.LENGTH, scale=2.0)
    nets.separate(net, "x", bias)
    net.nodes[-1].output[0] = "y"
    shape = [nets.BATCH, nets.LENGTH, nets.WIDTH]
    proto = net.model({"x": (1, shape)}, {"y": (1, shape)})
    feeds = nets.samples(masked=False)
    model = nets.plain(proto)
    values = nets.step("prune-heads:ratio=0.25,refit=off")
    effect = technique_for("prune-heads").apply(model, values, nets.setting(work, feeds))
    assert [one.what for one in effect.changes] == ["3 of 4 heads left"]
    (gone,) = _gone(nets.plain(proto), work, feeds, values)
    wanted = nets.ran(_silenced(proto, {0: [one for one in range(nets.HEADS) if one not in gone]}), feeds)["y"]
    assert np.allclose(nets.ran(model, feeds)["y"], wanted, atol=1e-4)


def _single(build: Any) -> Any:
    net = nets.Net()
    build(net)
    net.nodes[-1].output[0] = "y"
    shape = [nets.BATCH, nets.LENGTH, nets.WIDTH]
    return net.model({"x": (1, shape)}, {"y": (1, shape)})


def _shared_keys(net: nets.Net) -> str:
    q = net.op("Reshape", net.linear("x", nets.WIDTH, nets.WIDTH), net.ints(0, 0, nets.HEADS, nets.DIM))
    query = net.op("Transpose", q, perm=[0, 2, 1, 3])
    key, value = (net.op("Unsqueeze", net.linear("x", nets.WIDTH, nets.DIM), net.ints(1)) for _ in range(2))
    out = nets._core(net, query, net.op("Transpose", key, perm=[0, 1, 3, 2]), value, None)
    whole = net.op("Reshape", net.op("Transpose", out, perm=[0, 2, 1, 3]), net.ints(0, 0, nets.WIDTH))
    return net.linear(whole, nets.WIDTH, nets.WIDTH)


def _turned_queries(net: nets.Net) -> str:
    shape = net.ints(0, 0, nets.HEADS, nets.DIM)
    parts = [net.op("Reshape", net.linear("x", nets.WIDTH, nets.WIDTH), shape) for _ in range(3)]
    query, key, value = (net.op("Transpose", one, perm=[0, 2, 1, 3]) for one in parts)
    query = net.op("Add", query, net.op("Sin", query))
    out = nets._core(net, query, net.op("Transpose", key, perm=[0, 1, 3, 2]), value, None)
    whole = net.op("Reshape", net.op("Transpose", out, perm=[0, 2, 1, 3]), net.ints(0, 0, nets.WIDTH))
    return net.linear(whole, nets.WIDTH, nets.WIDTH)


def _used_elsewhere(net: nets.Net) -> str:
    y = nets.separate(net, "x", None)
    inner = next(one.output[0] for one in net.nodes if one.op_type == "Reshape")
    total = net.op("ReduceSum", inner, keepdims=0)
    made: str = net.op("Add", y, total)
    return made


def _no_layer_behind(net: nets.Net) -> str:
    y = nets.separate(net, "x", None)
    at = next(at for at, one in enumerate(net.nodes) if one.name.startswith("out"))
    net.nodes[at].op_type, net.nodes[at].name = "Pow", "power"
    del net.nodes[at].input[1]
    net.nodes[at].input.append(net.number(2.0))
    return y


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (_shared_keys, "its queries, keys and values have different numbers of heads"),
        (_turned_queries, "takes two computed values"),
        (_used_elsewhere, "its columns are used by op 'ReduceSum'"),
        (_no_layer_behind, "does not just move columns"),
        (lambda net: net.op("Softmax", "x", axis=-1), "its scores are no product of two computed matrices"),
    ],
    ids=["shared keys", "turned queries", "used elsewhere", "no layer behind", "a softmax alone"],
)
def test_near_misses_are_refused_with_the_reason(build: Any, why: str, work: Path) -> None:
    model = nets.plain(_single(build))
    said = technique_for("prune-heads").check(
        model, nets.step("prune-heads:ratio=0.5"), nets.setting(work, nets.samples(masked=False))
    )
    assert said is not None
    assert why in said


def test_a_softmax_over_another_axis_is_no_attention() -> None:
    proto = nets.encoder(layers=1)
    next(one for one in proto.graph.node if one.op_type == "Softmax").attribute[0].i = 1
    (found,) = attentions_of(nets.plain(proto))
    assert not isinstance(found, Attention)
    assert found.why == "its softmax is over axis 1, not over the last one"


def test_a_ratio_that_means_no_head_is_refused(work: Path) -> None:
    model = nets.plain(nets.encoder(layers=1))
    said = technique_for("prune-heads").check(
        model, nets.step("prune-heads:ratio=0.1"), nets.setting(work, nets.samples())
    )
    assert said == "ratio=0.1 of 4 heads is none"


def test_heads_are_found_in_the_order_of_the_columns(work: Path) -> None:
    model = nets.plain(nets.encoder("vision", layers=1))
    runs = shapes_seen(model, nets.samples(), work / "shapes.onnx")
    (attention,) = attentions_of(model)
    assert isinstance(attention, Attention)
    heads = heads_of(model, attention, {name: one[0] for name, one in runs.items()})
    query, key, value = (one.columns for one in heads.projections)
    assert query.tolist() == np.arange(nets.WIDTH).reshape(nets.HEADS, nets.DIM).tolist()
    assert (key - query == nets.WIDTH).all()
    assert (value - query == 2 * nets.WIDTH).all()
