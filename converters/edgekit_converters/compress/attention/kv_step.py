"""A decoder's graph rewritten to take one position, with what its attentions have seen in caches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.calibration import random_array
from edgekit_converters.compress.attention.opening import open_attention
from edgekit_converters.compress.attention.pattern import Attention, NotMatchedError, attentions_of
from edgekit_converters.compress.attention.reshaping import retarget
from edgekit_converters.compress.attention.settled import settle
from edgekit_converters.compress.attention.tokens import NO_AXES, Axes, Tokens, tables, token_axes
from edgekit_converters.compress.attention.writing import Writer
from edgekit_converters.compress.figures import infer_shapes
from edgekit_converters.graph import model as graph_model
from edgekit_converters.graph.reading import said

if TYPE_CHECKING:
    import onnx_ir as ir

POSITION, KEYS, VALUES = "position", "past_keys", "past_values"
NEW_KEYS, NEW_VALUES = "present_keys", "present_values"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a graph of one position keeps: caches [layers, heads, length, width] of keys and of values."""

    length: int
    cache: tuple[int, int, int, int]
    attentions: tuple[str, ...]


def make_step(model: "ir.Model", length: int, seed: int) -> Step:
    """Make a decoder take one position, in place.

    Args:
        model: the canonical graph of a sequence.
        length: the longest sequence; 0 where its input is fixed to it.
        seed: of the input it is looked at with.

    Raises:
        NotMatchedError: if it is no decoder with one input of tokens.
        UnsupportedError: if it does not run.
    """
    token, length = _token(model, length)
    shape = (1, length, *_rest(token))
    graph_model.freeze(model, {str(token.name): shape}, "model")
    infer_shapes(model)
    open_attention(model)
    feed = random_array(graph_model.specs([token])[0], shape, np.random.default_rng(seed))
    (shapes,) = settle(model, [{str(token.name): feed}])
    infer_shapes(model)
    found = list(attentions_of(model))
    attentions = [one for one in found if isinstance(one, Attention)]
    if not attentions:
        raise NotMatchedError(
            "it has no attention" + "".join(f": {one.why}" for one in found[:1] if hasattr(one, "why"))
        )
    stops = frozenset(str(value.name) for one in attentions for value in (one.key, one.value))
    tokens = Tokens(length=length, shapes=shapes, mixing=False)
    axes = token_axes(model, {str(token.name): 1}, tokens, stops)
    outputs = list(model.graph.outputs)
    _one_position(model, axes, tokens)
    cache = _with_caches(model, attentions, tokens)
    for one in (token, *outputs):
        one.shape = _with_one(tokens.shape(one), axes.get(str(one.name), NO_AXES))
    return Step(length=length, cache=cache, attentions=tuple(one.name for one in attentions))


def _token(model: "ir.Model", asked: int) -> tuple["ir.Value", int]:
    """Return the input of tokens, and how many it takes."""
    inputs = graph_model.inputs_of(model)
    if len(inputs) != 1:
        names = ", ".join(str(one.name) for one in inputs)
        raise NotMatchedError(f"it takes {len(inputs)} inputs ({names}), and only tokens can be given step by step")
    sizes = graph_model.dimensions(inputs[0])
    name = inputs[0].name
    if len(sizes) < 2:  # noqa: PLR2004  # batch, length
        raise NotMatchedError(f"input '{name}' has no axis of tokens behind the batch")
    if sizes[0] not in {None, 1}:
        raise NotMatchedError(f"input '{name}' takes a batch of {sizes[0]}, and a cache is of one sequence")
    if sizes[1] is None and not asked:
        raise NotMatchedError(f"the length of input '{name}' is free: give length= (or --shape)")
    if sizes[1] is not None and asked not in {0, sizes[1]}:
        raise NotMatchedError(f"input '{name}' is fixed to {sizes[1]} positions, not length={asked}")
    return inputs[0], sizes[1] or asked


def _rest(token: "ir.Value") -> tuple[int, ...]:
    rest = graph_model.dimensions(token)[2:]
    if None in rest:
        raise NotMatchedError(f"input '{token.name}' has free dimensions besides batch and length")
    return tuple(size for size in rest if size is not None)


def _with_one(shape: Sequence[int], axes: Axes) -> "ir.Shape":
    import onnx_ir as ir

    return ir.Shape([1 if axis in axes else size for axis, size in enumerate(shape)])


def _one_position(model: "ir.Model", axes: Mapping[str, Axes], tokens: Tokens) -> None:
    """Let every node work on one position: reshapes give one, and tables of positions are looked up."""
    import onnx_ir as ir

    position = ir.Value(name=POSITION, shape=ir.Shape([1]), type=ir.TensorType(ir.DataType.INT64))
    model.graph.inputs.append(position)
    for node in list(model.graph):
        here = axes.get(str(node.outputs[0].name), NO_AXES)
        if node.op_type == "Reshape":
            for axis in here:
                retarget(model, node, axis, 1)
        for place, own in tables(node, here, tokens):
            table = node.inputs[place]
            writer = Writer(model, node, f"{table.name}/at")  # type: ignore[union-attr]  # it is stored
            for axis in own:
                table = writer.op("Gather", table, position, attributes={"axis": axis})
            node.replace_input_with(place, table)


def _with_caches(model: "ir.Model", attentions: Sequence[Attention], tokens: Tokens) -> tuple[int, int, int, int]:
    """Put what each attention takes into the caches, and give it what is there; return the caches' shape."""
    import onnx_ir as ir

    sizes = {_sizes(one, tokens) for one in attentions}
    if len(sizes) > 1:
        raise NotMatchedError("its layers have different numbers of heads or widths")
    ((heads, width),) = sizes
    shape = (len(attentions), heads, tokens.length, width)
    position = next(one for one in model.graph.inputs if one.name == POSITION)
    first = Writer(model, next(iter(model.graph)), "cache")
    here = first.op("Equal", first.stored(np.arange(tokens.length).reshape(-1, 1)), position)
    for old, new in ((KEYS, NEW_KEYS), (VALUES, NEW_VALUES)):
        kind = ir.TensorType(attentions[0].key.dtype or ir.DataType.FLOAT)
        past = ir.Value(name=old, shape=ir.Shape(shape), type=kind)
        model.graph.inputs.append(past)
        now = [_cached(model, one, (past, number, here), tokens) for number, one in enumerate(attentions)]
        joined = ir.node("Concat", now, {"axis": 0})
        joined.outputs[0].name, joined.outputs[0].shape, joined.outputs[0].type = new, ir.Shape(shape), kind
        model.graph.append(joined)
        model.graph.outputs.append(joined.outputs[0])
    return shape


def _sizes(one: Attention, tokens: Tokens) -> tuple[int, int]:
    """Return heads and width of an attention; keys and values have the same."""
    key, value = tokens.shape(one.key), tokens.shape(one.value)
    if key[-1] != tokens.length or value[-2] != tokens.length:
        raise NotMatchedError(f"the keys of {said(one.scores)} are not those of the sequence")
    if (key[:-2], key[-2]) != (value[:-2], value[-1]):
        raise NotMatchedError(f"{said(one.scores)} has keys of another width or number than values")
    return int(np.prod(key[:-2])), int(key[-2])


def _cached(model: "ir.Model", one: Attention, place: "tuple[ir.Value, int, ir.Value]", tokens: Tokens) -> "ir.Value":
    """Give an attention the keys or values there are with those of this position; return them for the cache.

    Args:
        model: changed in place.
        one: an attention of it.
        place: the cache, the attention's number in it, and the mask [length, 1] of this position.
        tokens: what is followed.
    """
    past, number, here = place
    turned = past.name == KEYS
    node = one.scores if turned else one.product
    value = node.inputs[1]
    *lead, rows, columns = tokens.shape(value)  # type: ignore[arg-type]  # a MatMul has both
    heads, width = int(np.prod(lead)), rows if turned else columns
    swap = {"perm": [*range(len(lead)), len(lead) + 1, len(lead)]}
    writer = Writer(model, node, f"{one.name}/{past.name}")
    fresh = writer.op("Transpose", value, attributes=swap) if turned else value
    fresh = writer.op("Reshape", fresh, writer.ints(1, heads, 1, width))
    before = writer.op("Gather", past, writer.ints(number), attributes={"axis": 0})
    whole = writer.op("Where", here, fresh, before)
    given = writer.op("Reshape", whole, writer.ints(*lead, tokens.length, width))
    node.replace_input_with(1, writer.op("Transpose", given, attributes=swap) if turned else given)
    return whole
