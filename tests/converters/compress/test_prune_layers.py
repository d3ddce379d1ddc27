"""Blocks left out: those that the outputs miss least, and only those that all paths lead through."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.compress import technique_for
from edgekit_converters.compress.blocks import blocks_of, layers_of, shapes_seen
from tests.converters import onnx_text
from tests.converters.compress import attention_nets as nets

SIZE = 8


def _residual(folder: Path, *, strengths: tuple[float, ...] = (0.5, 0.01, 0.4), stem: bool = True) -> Any:
    """Residual blocks of convolutions, the last one a step down without the shape kept."""
    import onnx

    rng = np.random.default_rng(0)
    text, weights, x = "", {}, "x"
    if stem:
        text += "a0 = Conv<pads=[1,1,1,1]>(x, stem)\nx0 = Relu(a0)\n"
        weights["stem"] = rng.normal(size=(6, 3, 3, 3)).astype(np.float32) * 0.3
        x = "x0"
    for at, strength in enumerate(strengths):
        text += f"c{at} = Conv<pads=[1,1,1,1]>({x}, w{at}, b{at})\nr{at} = Relu(c{at})\n"
        text += f"d{at} = Conv<pads=[1,1,1,1]>(r{at}, v{at})\ns{at} = Add(d{at}, {x})\ny{at} = Relu(s{at})\n"
        weights[f"w{at}"] = rng.normal(size=(6, 6, 3, 3)).astype(np.float32) * 0.2
        weights[f"b{at}"] = rng.normal(size=6).astype(np.float32) * 0.1
        weights[f"v{at}"] = (rng.normal(size=(6, 6, 3, 3)) * strength).astype(np.float32)
        x = f"y{at}"
    text += f"e = Conv<strides=[2,2]>({x}, end)\nm = GlobalAveragePool(e)\ny = Flatten(m)\n"
    weights["end"] = rng.normal(size=(5, 6, 1, 1)).astype(np.float32)
    path = onnx_text.write(
        folder / "net.onnx", f"(float[N,{3 if stem else 6},{SIZE},{SIZE}] x) => (float[N,5] y) {{ {text} }}", weights
    )
    return onnx.load(path)


def _images(channels: int = 3) -> dict[str, Any]:
    return {"x": np.random.default_rng(5).normal(size=(12, channels, SIZE, SIZE)).astype(np.float32)}


def _blocks(model: Any, feeds: Any, work: Path) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.entry, one.exits) for one in blocks_of(model, shapes_seen(model, feeds, work / "shapes.onnx"))]


def test_residual_blocks_are_found_one_behind_the_other(work: Path) -> None:
    model = nets.plain(_residual(work))
    assert _blocks(model, _images(), work) == [("x0", ("s0", "y0")), ("y0", ("s1", "y1")), ("y1", ("s2", "y2"))]


@pytest.mark.parametrize("pre", [False, True], ids=["norms behind", "norms before"])
@pytest.mark.parametrize("free", [False, True], ids=["fixed", "free"])
@pytest.mark.parametrize("style", ["separate", "computed", "split", "vision", "guarded"])
def test_attention_and_feed_forward_nets_are_blocks_and_two_of_them_a_layer(
    style: str, free: bool, pre: bool, work: Path
) -> None:
    model = nets.plain(nets.encoder(style, free=free, layers=3, pre=pre))
    blocks = blocks_of(model, shapes_seen(model, nets.samples(), work / "shapes.onnx"))
    assert ["Softmax" in one.kind for one in blocks] == [True, False] * 3
    layers = layers_of(blocks)
    assert [(one.entry, one.exits[-1]) for one in layers] == [
        (a.entry, b.exits[-1]) for a, b in zip(blocks[::2], blocks[1::2], strict=True)
    ]
    assert layers[-1].exits[-1] == "y"


def test_a_shape_that_later_blocks_look_at_does_not_join_them(work: Path) -> None:
    net, x = nets.Net(), "x"
    sizes = net.op("Shape", x)
    for number in range(2):
        x = net.op("Reshape", nets._attended(net, nets.separate, x, None, pre=False), sizes)
        x = nets._fed(net, x, f"u{number}", f"d{number}", pre=False)
    net.nodes[-1].output[0] = "y"
    spec = (1, ["batch", nets.LENGTH, nets.WIDTH])
    model = nets.plain(net.model({"x": spec}, {"y": spec}))
    assert len(_blocks(model, nets.samples(masked=False), work)) == 4


def test_the_block_that_does_least_goes(work: Path) -> None:
    proto, feeds = _residual(work), _images()
    model = nets.plain(proto)
    effect = technique_for("prune-layers").apply(model, nets.step("prune-layers:count=1"), nets.setting(work, feeds))
    assert [one.layer for one in effect.changes] == ["c1"]
    assert [node.op_type for node in model.graph].count("Add") == 2
    before, after = nets.ran(proto, feeds)["y"], nets.ran(model, feeds)["y"]
    error = np.linalg.norm(after - before) / np.linalg.norm(before)
    assert error == pytest.approx(float(effect.changes[0].figures["output_error"] or 0), rel=1e-3)
    without = nets.ran(_residual(work, strengths=(0.5, 0.0, 0.4)), feeds)["y"]
    assert np.allclose(after, without, atol=1e-4)  # the definition: the branch gives nothing


def test_a_bound_on_the_error_stops_it(work: Path) -> None:
    model, feeds = nets.plain(_residual(work)), _images()
    effect = technique_for("prune-layers").apply(model, nets.step("prune-layers:error=0.1"), nets.setting(work, feeds))
    assert len(effect.changes) == 1
    assert len(effect.left) == 2
    assert all("error=0.1" in one.why for one in effect.left)


def test_a_ratio_counts_layers_of_an_encoder_and_the_output_keeps_its_name(work: Path) -> None:
    proto, feeds = nets.encoder(layers=4), nets.samples()
    model = nets.plain(proto)
    values = nets.step("prune-layers:ratio=0.75,unit=layer")
    effect = technique_for("prune-layers").apply(model, values, nets.setting(work, feeds))
    assert len(effect.changes) == 3
    assert [node.op_type for node in model.graph].count("Softmax") == 1
    assert list(nets.ran(model, feeds)) == ["y"]


def test_a_refit_makes_up_for_a_gap(work: Path) -> None:
    feeds = _images()
    errors = {}
    for how in ("", ",refit"):
        model = nets.plain(_residual(work, strengths=(0.3, 0.3, 0.3)))
        values = nets.step(f"prune-layers:count=1{how}")
        effect = technique_for("prune-layers").apply(model, values, nets.setting(work, feeds))
        errors[how] = effect.figures
    assert float(errors[",refit"]["output_error_refitted"] or 1) < float(errors[""]["output_error"] or 0)


def test_a_value_that_is_used_behind_the_block_too_is_no_entry(work: Path) -> None:
    text = "a = MatMul(x, w)\nb = Relu(a)\nc = MatMul(b, v)\nd = Concat<axis=1>(c, a)\ny = MatMul(d, u)"
    rng = np.random.default_rng(1)
    weights = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in {"w": (3, 4), "v": (4, 4), "u": (8, 2)}.items()
    }
    import onnx

    path = onnx_text.write(work / "net.onnx", f"(float[N,3] x) => (float[N,2] y) {{ {text} }}", weights)
    model = nets.plain(onnx.load(path))
    feeds = {"x": rng.normal(size=(4, 3)).astype(np.float32)}
    assert _blocks(model, feeds, work) == [("b", ("c",))]  # not from a, which the Concat takes too


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ("prune-layers", "it does not say how many blocks go: give count=, ratio= or error="),
        ("prune-layers:count=4", "it has 3 blocks, not 4"),
    ],
)
def test_steps_that_cannot_be_done_are_refused(step: str, why: str, work: Path) -> None:
    model = nets.plain(_residual(work))
    assert technique_for("prune-layers").check(model, nets.step(step), nets.setting(work, _images())) == why


def test_named_layers_alone_are_tried(work: Path) -> None:
    model = nets.plain(_residual(work))
    technique = technique_for("prune-layers")
    effect = technique.apply(model, nets.step("prune-layers:count=1"), nets.setting(work, _images(), frozenset({"d2"})))
    assert "y2" in effect.changes[0].what or "s2" in effect.changes[0].what
    why = technique.check(model, nets.step("prune-layers:count=1"), nets.setting(work, _images(), frozenset({"e"})))
    assert why is not None
    assert "in none of its blocks" in why


def test_a_net_without_blocks_is_refused(work: Path) -> None:
    import onnx

    weights = {"w": np.ones((3, 4), np.float32), "v": np.ones((4, 2), np.float32)}
    path = onnx_text.write(
        work / "net.onnx", "(float[N,3] x) => (float[N,2] y) { a = MatMul(x, w)\ny = MatMul(a, v) }", weights
    )
    feeds = {"x": np.ones((2, 3), np.float32)}
    why = technique_for("prune-layers").check(
        nets.plain(onnx.load(path)), nets.step("prune-layers:count=1"), nets.setting(work, feeds)
    )
    assert why is not None
    assert "no block" in why
