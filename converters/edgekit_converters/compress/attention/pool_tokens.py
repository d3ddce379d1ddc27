"""Tokens put together in the middle of a stack: the layers behind work on half as many, or fewer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.attention.opening import open_attention
from edgekit_converters.compress.attention.pattern import NotMatchedError
from edgekit_converters.compress.attention.reshaping import retarget, stored
from edgekit_converters.compress.attention.settled import settle, two_batches
from edgekit_converters.compress.attention.tokens import NO_AXES, Axes, Tokens, tables, token_axes
from edgekit_converters.compress.attention.writing import Writer
from edgekit_converters.compress.base import Change, Effect, Setting, Values
from edgekit_converters.compress.blocks import Block, blocks_of, layers_of
from edgekit_converters.compress.figures import infer_shapes
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.graph import model as graph_model
from edgekit_converters.graph.reading import said
from edgekit_converters.precisions import Options, flag, number

if TYPE_CHECKING:
    import onnx_ir as ir


class PoolTokens:
    """Behind a layer each group of neighbouring tokens becomes their mean; masks show what shows any of them.

    Dai et al., "Funnel-Transformer" (2020), without training. An output that has a place for every token cannot be
    had, but by repeating what its group gives.
    """

    name = "pool-tokens"
    help = "put neighbouring tokens together behind a layer"
    exact = False
    options: Options = MappingProxyType(
        {
            "after": number(0, 0, 10_000, "layers that see all tokens; 0: the first half"),
            "factor": number(2, 2, 64, "tokens that become one"),
            "upsample": flag("repeat them at the end for outputs that have a place for every token"),
        }
    )

    def needs(self, values: Values) -> frozenset[str]:  # noqa: ARG002  # the port's
        """Nothing but the graph."""
        return frozenset()

    def check(self, model: "ir.Model", values: Values, setting: Setting) -> str | None:
        """Refuse what cannot be pooled, by pooling it."""
        try:
            _pooled(model.clone(), values, setting.seed)
        except (NotMatchedError, UnsupportedError) as exc:
            return str(exc)
        return None

    def apply(self, model: "ir.Model", values: Values, setting: Setting) -> Effect:
        """Pool the tokens."""
        try:
            layer, length = _pooled(model, values, setting.seed)
        except NotMatchedError as exc:
            raise UnsupportedError(f"its tokens cannot be put together: {exc}") from exc
        left = -(-length // int(values["factor"]))
        change = Change(layer=layer.name, what=f"behind it {left} tokens", figures={"tokens": length, "pooled": left})
        return Effect(changes=(change,))


def _pooled(model: "ir.Model", values: Values, seed: int) -> tuple[Block, int]:
    """Pool in place; return the layer behind which, and how many tokens there were."""
    length, starts = _tokens(model)
    open_attention(model)
    runs = settle(model, two_batches(model, seed))
    infer_shapes(model)
    shapes = {name: tuple(run[name] for run in runs) for name in runs[0] if all(name in run for run in runs)}
    layers = layers_of(blocks_of(model, shapes))
    after = int(values["after"]) or len(layers) // 2
    if not 0 < after < len(layers):
        raise NotMatchedError(f"it has {len(layers)} layers, and after={after} leaves none before or behind")
    tokens = Tokens(length=length, shapes=runs[-1], mixing=True)
    axes = token_axes(model, starts, tokens, frozenset())
    pooling = _Pooling(model, tokens, axes, int(values["factor"]))
    pooling.behind(layers[after - 1].exits[-1], upsample=bool(values["upsample"]))
    return layers[after - 1], length


def _tokens(model: "ir.Model") -> tuple[int, dict[str, int]]:
    """Return how many tokens the inputs have, and along which axis: the one behind the batch."""
    inputs = graph_model.inputs_of(model)
    sizes = {str(one.name): graph_model.dimensions(one) for one in inputs}
    free = [name for name, size in sizes.items() if None in size[1:]]
    if free:
        raise NotMatchedError(f"input '{free[0]}' has a free length, and pooling needs a fixed one: give --shape")
    lengths = {size[1] for size in sizes.values() if len(size) > 1}
    if len(lengths) != 1:
        raise NotMatchedError(f"its inputs have {len(lengths)} lengths behind the batch, not one")
    (length,) = lengths
    return length or 0, {name: 1 for name, size in sizes.items() if len(size) > 1}


@dataclass(slots=True)
class _Pooling:
    """Writes everything behind a value for fewer tokens."""

    model: "ir.Model"
    tokens: Tokens
    axes: Mapping[str, Axes]
    factor: int
    made: dict[str, "ir.Value"] = field(default_factory=dict)

    @property
    def groups(self) -> np.ndarray:
        """The tokens of each group [pooled, factor]; the last one's repeated where the last group is not full."""
        count = -(-self.tokens.length // self.factor)
        places = np.arange(count * self.factor).reshape(count, self.factor)
        return np.minimum(places, self.tokens.length - 1)

    def behind(self, name: str, *, upsample: bool) -> None:
        """Pool a value, and all that is put beside it in the nodes behind.

        Raises:
            NotMatchedError: if an output has a place for every token.
        """
        (value,) = (one for node in self.model.graph for one in node.outputs if one.name == name)
        if not self.axes.get(name):
            raise NotMatchedError(f"'{name}' behind the layer has no axis of tokens")
        tail = _behind(self.model, value)
        tail += self._counting(value, tail)
        inside = {id(one) for node in tail for one in node.outputs}
        outputs = [one for one in self.model.graph.outputs if id(one) in inside and self.axes.get(str(one.name))]
        if outputs and not upsample:
            error = f"output '{outputs[0].name}' has a place for every token: it takes the option upsample"
            raise NotMatchedError(error)
        for node in tail:
            self._fewer(node, inside)
        for one in outputs:
            self._repeated(one)

    def _counting(self, value: "ir.Value", tail: "Sequence[ir.Node]") -> "list[ir.Node]":
        """Return the nodes that sum over tokens beside the stack for what is behind: how many a mask shows."""
        before = {id(node) for node in self.model.graph if id(value) in _needing(self.model, node.outputs)}
        found = []
        for node in self.model.graph:
            if node in tail or not any(one is not None and self.axes.get(str(one.name)) for one in node.inputs):
                continue
            if self.axes.get(str(node.outputs[0].name)) or node.op_type == "Shape":
                continue
            needing = _needing(self.model, node.outputs, but=value)
            if any(id(one) in needing for later in tail for one in later.inputs if one is not value):
                if id(node) in before:
                    raise NotMatchedError(f"{said(node)} counts tokens for layers before and behind")
                found.append(node)
        return found

    def _fewer(self, node: "ir.Node", inside: set[int]) -> None:
        here = self.axes.get(str(node.outputs[0].name), NO_AXES)
        for place, one in enumerate(node.inputs):
            if one is not None and one.const_value is None and id(one) not in inside and self.axes.get(str(one.name)):
                node.replace_input_with(place, self._grouped(one, sorted(self.axes[str(one.name)])))
        for place, own in tables(node, here, self.tokens):
            node.replace_input_with(place, self._grouped(node.inputs[place], own))  # type: ignore[arg-type]  # stored
        if node.op_type == "Reshape":
            for axis in here:
                retarget(self.model, node, axis, len(self.groups))

    def _grouped(self, value: "ir.Value", axes: Sequence[int]) -> "ir.Value":
        """Return a value with a group for each of its tokens: the mean, or the most that is seen of a mask."""
        import onnx_ir as ir

        name = str(value.name)
        if name in self.made:
            return self.made[name]
        nodes = list(self.model.graph)
        maker = value.producer()
        writer = Writer(self.model, nodes[0 if maker is None else nodes.index(maker) + 1], f"{name}/pooled")
        beside = [size for axis, size in enumerate(self.tokens.shape(value)) if axis not in {0, *axes}]
        of_reals = value.dtype is not None and value.dtype.is_floating_point()
        kind = "ReduceMean" if of_reals and any(size > 1 for size in beside) else "ReduceMax"
        bits = value.dtype == ir.DataType.BOOL
        made = writer.op("Cast", value, attributes={"to": int(ir.DataType.INT32)}) if bits else value
        for axis in axes:
            gathered = writer.op("Gather", made, writer.stored(self.groups), attributes={"axis": axis})
            made = writer.reduced(kind, gathered, axis + 1)
        if bits:
            made = writer.op("Cast", made, attributes={"to": int(ir.DataType.BOOL)})
        self.made[name] = made
        return made

    def _repeated(self, output: "ir.Value") -> None:
        """Give an output's groups to all of their tokens, under its name."""
        import onnx_ir as ir

        name = str(output.name)
        made: ir.Value = output
        output.name = f"{name}/pooled"
        for axis in sorted(self.axes[name]):
            places = np.arange(self.tokens.length) // self.factor
            node = ir.node("Gather", [made, stored(self.model, f"{name}/places", places)], {"axis": axis})
            self.model.graph.append(node)
            made = node.outputs[0]
            made.name = f"{name}/repeated.{axis}"
        made.name, made.shape, made.type = name, output.shape, output.type
        outputs = self.model.graph.outputs
        outputs[next(at for at, one in enumerate(outputs) if one is output)] = made
        output.shape = None


def _behind(model: "ir.Model", value: "ir.Value") -> list["ir.Node"]:
    """Return the nodes that need a value, in order."""
    needing = _needing(model, [value])
    return [node for node in model.graph if any(id(one) in needing for one in node.inputs)]


def _needing(model: "ir.Model", values: "Sequence[ir.Value]", but: "ir.Value | None" = None) -> set[int]:
    """Return the ids of values and of all that need them, but for what needs them by way of one."""
    found = {id(one) for one in values}
    for node in model.graph:
        if any(id(one) in found for one in node.inputs):
            found |= {id(one) for one in node.outputs if one is not but}
    return found
