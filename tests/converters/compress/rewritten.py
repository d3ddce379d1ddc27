"""What tests of rewrite rules share: a net as text is changed by rules and run before and after with ONNX Runtime."""

import collections
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit_converters.compress.base import Effect, Setting
from edgekit_converters.compress.figures import infer_shapes
from edgekit_converters.compress.rules.base import AnyRule
from edgekit_converters.compress.rules.runner import apply_rules
from edgekit_converters.graph.oracle import session

TOLERANCE = 1e-4
"""Of an output's largest value: sums of at most some thousand float32 terms in another order."""
_FREE = 2  # what a free dimension is when the net is run


@dataclass(frozen=True)
class Outcome:
    """A net behind its rewrite; outputs were the same, and the checker had nothing against it."""

    model: Any
    effect: Effect
    ops: Mapping[str, int]

    @property
    def why(self) -> str:
        """All reasons for what was left."""
        return "; ".join(f"{one.layer}: {one.why}" for one in self.effect.left)

    @property
    def what(self) -> str:
        """All that was done."""
        return "; ".join(f"{one.layer}: {one.what}" for one in self.effect.changes)


def net(text: str, weights: Mapping[str, Any], opset: int = 18) -> Any:
    """Return `x[N,3], int64 i -> y: a = Mul(x, w) y = ...` as an onnx.ModelProto; what has no type is a float.

    It has those of the weights that it names.
    """
    import onnx

    sides, _, body = text.partition(":")
    takes, gives = (", ".join(_declared(one) for one in side.split(";")) for side in sides.split("->"))
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": {opset}]> g ({takes}) => ({gives}) {{ {body} }}'
    )
    for one in model.graph.output:
        one.type.tensor_type.ClearField("shape")
    named = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(one), name) for name, one in weights.items() if name in named
    )
    for at, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type.lower()}{at}"
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    onnx.checker.check_model(model, full_check=True)
    return model


def _declared(text: str) -> str:
    """Return `int64 i[2]` as ONNX writes it: `int64[2] i`."""
    kind, _, name = text.strip().rpartition(" ")
    name, bracket, shape = name.partition("[")
    return f"{kind or 'float'}{bracket}{shape} {name}"


def rewritten(proto: Any, rules: Sequence[AnyRule], work: Any, only: Sequence[str] | None = None) -> Outcome:
    """Apply rules to a net and compare what it computes."""
    import onnx
    import onnx_ir as ir
    from onnx_ir.passes import common

    model = ir.serde.deserialize_model(proto)
    infer_shapes(model)
    setting = Setting(work=work, source=work, only=None if only is None else frozenset(only))
    effect = apply_rules(model, rules, setting)
    common.RemoveUnusedNodesPass()(model)
    infer_shapes(model)
    after = ir.serde.serialize_model(model)
    onnx.checker.check_model(after, full_check=True)
    same(proto, after)
    ops = collections.Counter(node.op_type for node in model.graph.all_nodes())
    return Outcome(model, effect, dict(ops))


def same(before: Any, after: Any) -> None:
    """Check that two nets have the same outputs, by name and number, on the same random inputs."""
    feeds, names = feeds_of(before), [one.name for one in before.graph.output]
    assert [one.name for one in after.graph.output] == names
    wanted, got = session(before).run(names, feeds), session(after).run(names, feeds)
    for name, left, right in zip(names, got, wanted, strict=True):
        assert left.shape == right.shape, name
        assert left.dtype == right.dtype, name
        largest = float(np.max(np.abs(right[np.isfinite(right)].astype(np.float64)), initial=1e-6))
        coarse = 20 if right.dtype == np.float16 else 1
        assert np.allclose(left, right, rtol=0, atol=coarse * TOLERANCE * largest, equal_nan=True), name


def feeds_of(proto: Any, seed: int = 0) -> dict[str, Any]:
    """Return random inputs; free dimensions are 2."""
    import onnx

    rng, feeds = np.random.default_rng(seed), {}
    stored = {one.name for one in proto.graph.initializer}
    for one in proto.graph.input:
        if one.name in stored:
            continue
        shape = [size.dim_value or _FREE for size in one.type.tensor_type.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type)
        feeds[one.name] = rng.normal(size=shape).astype(dtype)
    return feeds


def normal(seed: int, *shape: int) -> Any:
    """Return float32 numbers of a size that keeps a layer's outputs near 1."""
    fan = int(np.prod(shape[1:])) if len(shape) > 1 else 1
    return (np.random.default_rng(seed).normal(size=shape) / np.sqrt(max(fan, 1))).astype(np.float32)
