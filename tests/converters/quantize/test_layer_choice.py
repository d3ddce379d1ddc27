"""Which layers a pattern means: names, globs, operators, values; names may hold what patterns are made of."""

import re

import pytest

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.layers.choice import chosen, exact
from edgekit_converters.layers.view import Node, Value, View

# name of the layer, operator, names of what it computes
LAYERS = (
    ("conv1", "CONV_2D", ("relu1;bias1;conv1",)),
    ("conv2", "CONV_2D", ("conv2_out",)),
    ("conv10", "DEPTHWISE_CONV_2D", ("c10",)),
    ("block[0]/add", "ADD", ("block[0]/add",)),
    ("block0/add", "ADD", ("block0/add",)),
    ("split*", "SPLIT", ("part_0", "part_1")),
    ("=odd", "SOFTMAX", ("odd",)),
    ("head", "FULLY_CONNECTED", ("StatefulPartitionedCall:0",)),
    ("empty", "CALL", ()),
)


@pytest.fixture(scope="module")
def view() -> View:
    values = [Value(name=name, shape=(1,), dtype="float32") for _, _, names in LAYERS for name in names]
    places = iter(range(len(values)))
    nodes = [
        Node(name=name, op=op, inputs=(), outputs=tuple(next(places) for _ in names), parameters=op.endswith("_2D"))
        for name, op, names in LAYERS
    ]
    return View(values=tuple(values), nodes=tuple(nodes), inputs=(), outputs=())


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("conv1", ["conv1"]),
        ("conv?", ["conv1", "conv2"]),
        ("conv*", ["conv1", "conv2", "conv10"]),
        ("*", [name for name, _, _ in LAYERS]),
        ("op:CONV_2D", ["conv1", "conv2"]),
        ("op:conv_2d", ["conv1", "conv2"]),
        ("relu1;bias1;conv1", ["conv1"]),
        ("=relu1;bias1;conv1", ["conv1"]),
        ("=c10", ["conv10"]),
        ("block[0]/add", ["block[0]/add", "block0/add"]),  # the name itself, and as a glob the other one
        ("=block[0]/add", ["block[0]/add"]),
        ("split*", ["split*"]),
        ("part_1", ["split*"]),
        ("=odd", ["=odd"]),
        ("StatefulPartitionedCall:0", ["head"]),
        ("empty", ["empty"]),
    ],
)
def test_a_pattern_means_these_layers(pattern: str, wanted: list[str], view: View) -> None:
    assert [view.nodes[at].name for at in chosen(view, [pattern])] == wanted


def test_layers_come_once_each_in_the_models_order(view: View) -> None:
    found = chosen(view, ["head", "conv2", "op:CONV_2D", "conv*"])
    assert [view.nodes[at].name for at in found] == ["conv1", "conv2", "conv10", "head"]
    assert chosen(view, []) == []


@pytest.mark.parametrize("pattern", ["Conv1", "conv", "op:Conv", "op:", "=conv?", "=conv1*", "", "relu1"])
def test_a_pattern_that_means_nothing_is_refused(pattern: str, view: View) -> None:
    with pytest.raises(UnsupportedError, match=re.escape(f"no layer is called '{pattern}'")) as caught:
        chosen(view, ["conv2", pattern])
    assert caught.value.__notes__ == [
        "layers with weights are called: conv1, conv2, conv10; `edgekit inspect` lists all"
    ]


def test_a_model_without_weights_names_its_layers_all_the_same(view: View) -> None:
    bare = View(values=view.values, nodes=view.nodes[3:5], inputs=(), outputs=())
    with pytest.raises(UnsupportedError) as caught:
        chosen(bare, ["x"])
    assert caught.value.__notes__ == ["its layers are called: block[0]/add, block0/add; `edgekit inspect` lists all"]


def test_the_exact_pattern_means_one_layer(view: View) -> None:
    for at, node in enumerate(view.nodes):
        if node.outputs:
            assert chosen(view, [exact(view, node)]) == [at]
