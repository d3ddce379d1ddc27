"""Small encoders and decoders written as ONNX the way different exporters write attention."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

BATCH, LENGTH, WIDTH, HEADS, INNER = 2, 6, 16, 4, 24
DIM = WIDTH // HEADS


@dataclass
class Net:
    """An ONNX graph in the making; weights are random, from the seed."""

    seed: int = 0
    opset: int = 18
    nodes: list[Any] = field(default_factory=list)
    weights: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:  # noqa: D105  # a dataclass' own
        self.rng = np.random.default_rng(self.seed)
        self.free = 0

    def op(self, kind: str, *inputs: str, outputs: int = 1, name: str = "", **attributes: Any) -> Any:
        """Add a node; return the name of its output, or of each."""
        from onnx import helper

        self.free += 1
        made = [f"v{self.free}" if outputs == 1 else f"v{self.free}.{at}" for at in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), made, name or f"{kind}_{self.free}", **attributes))
        return made[0] if outputs == 1 else made

    def stored(self, array: Any, name: str = "") -> str:
        self.free += 1
        name = name or f"w{self.free}"
        self.weights[name] = np.asarray(array)
        return name

    def ints(self, *values: int) -> str:
        return self.stored(np.array(values, np.int64))

    def number(self, value: float) -> str:
        return self.stored(np.float32(value))

    def random(self, *shape: int, scale: float = 0.4) -> str:
        return self.stored((self.rng.normal(size=shape) * scale).astype(np.float32))

    def linear(self, x: str, columns: int, outputs: int, name: str = "", *, bias: bool = True) -> str:
        """Add a dense layer as PyTorch's exporters write one behind a batch: MatMul and Add."""
        name = f"{name}.{self.free}" if name else ""
        y: str = self.op("MatMul", x, self.random(columns, outputs), name=name)
        return self.op("Add", y, self.random(outputs)) if bias else y

    def norm(self, x: str, width: int = WIDTH) -> str:
        ones, zeros = self.stored(np.ones(width, np.float32)), self.stored(np.zeros(width, np.float32))
        made: str = self.op("LayerNormalization", x, ones, zeros)
        return made

    def model(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Any:
        """Return the checked `onnx.ModelProto`; inputs and outputs are (element type, shape) by name."""
        import onnx
        from onnx import helper, numpy_helper

        made = helper.make_model(
            helper.make_graph(
                self.nodes,
                "net",
                [helper.make_tensor_value_info(name, *spec) for name, spec in inputs.items()],
                [helper.make_tensor_value_info(name, *spec) for name, spec in outputs.items()],
                [numpy_helper.from_array(array, name) for name, array in self.weights.items()],
            ),
            opset_imports=[helper.make_opsetid("", self.opset)],
            ir_version=8,
        )
        onnx.checker.check_model(made, full_check=True)
        return made


def _core(net: Net, query: str, key: str, value: str, mask: str | None) -> str:
    """Add scores, scale, mask, softmax and product."""
    scores = net.op("Mul", net.op("MatMul", query, key), net.number(DIM**-0.5))
    scores = net.op("Add", scores, mask) if mask else scores
    made: str = net.op("MatMul", net.op("Softmax", scores, axis=-1), value)
    return made


def separate(net: Net, x: str, mask: str | None) -> str:
    """Three layers, targets of reshapes stored."""
    shape = net.ints(0, -1, HEADS, DIM)
    q, k, v = (net.op("Reshape", net.linear(x, WIDTH, WIDTH, one), shape) for one in ("query", "key", "value"))
    query, value = (net.op("Transpose", one, perm=[0, 2, 1, 3]) for one in (q, v))
    out = _core(net, query, net.op("Transpose", k, perm=[0, 2, 3, 1]), value, mask)
    merged = net.op("Reshape", net.op("Transpose", out, perm=[0, 2, 1, 3]), net.ints(0, 0, WIDTH))
    return net.linear(merged, WIDTH, WIDTH, "out")


def computed(net: Net, x: str, mask: str | None) -> str:
    """Targets put together from the input's shape, as PyTorch traces them; one for all reshapes."""
    sizes = net.op("Shape", x)
    batch, length = (net.op("Gather", sizes, net.stored(np.array([at]))) for at in (0, 1))
    shape = net.op("Concat", batch, length, net.ints(HEADS), net.ints(DIM), axis=0)
    parts = [net.op("Reshape", net.linear(x, WIDTH, WIDTH, bias=False), shape) for _ in range(3)]
    query, key, value = (net.op("Transpose", one, perm=[0, 2, 1, 3]) for one in parts)
    out = _core(net, query, net.op("Transpose", key, perm=[0, 1, 3, 2]), value, mask)
    whole = net.op("Concat", batch, length, net.ints(WIDTH), axis=0)
    merged = net.op("Reshape", net.op("Transpose", out, perm=[0, 2, 1, 3]), whole)
    return net.linear(merged, WIDTH, WIDTH, bias=False)


def split(net: Net, x: str, mask: str | None) -> str:
    """One layer for queries, keys and values, split behind its bias: GPT-2."""
    whole = net.linear(x, WIDTH, 3 * WIDTH, "qkv")
    parts = net.op("Split", whole, net.ints(WIDTH, WIDTH, WIDTH), outputs=3, axis=-1)
    q, k, v = (net.op("Reshape", one, net.ints(0, 0, HEADS, DIM)) for one in parts)
    query, value = (net.op("Transpose", one, perm=[0, 2, 1, 3]) for one in (q, v))
    out = _core(net, query, net.op("Transpose", k, perm=[0, 2, 3, 1]), value, mask)
    merged = net.op("Reshape", net.op("Transpose", out, perm=[0, 2, 1, 3]), net.ints(0, 0, -1))
    return net.linear(merged, WIDTH, WIDTH)


def sliced(net: Net, x: str, mask: str | None) -> str:
    """One layer, taken apart by slices; biases behind the heads."""
    whole = net.linear(x, WIDTH, 3 * WIDTH)
    ends = [0, WIDTH, 2 * WIDTH, 2**31]
    cuts = [net.op("Slice", whole, net.ints(a), net.ints(b), net.ints(-1)) for a, b in itertools.pairwise(ends)]
    q, k, v = (net.op("Reshape", one, net.ints(0, 0, HEADS, DIM)) for one in cuts)
    q = net.op("Add", q, net.random(HEADS, DIM))
    query, value = (net.op("Transpose", one, perm=[0, 2, 1, 3]) for one in (q, v))
    out = _core(net, query, net.op("Transpose", k, perm=[0, 2, 3, 1]), value, mask)
    merged = net.op("Reshape", net.op("Transpose", out, perm=[0, 2, 1, 3]), net.ints(0, 0, WIDTH))
    return net.linear(merged, WIDTH, WIDTH)


def vision(net: Net, x: str, mask: str | None) -> str:
    """One layer, its columns given an axis of three and gathered from it: ViT in timm."""
    whole = net.op("Reshape", net.linear(x, WIDTH, 3 * WIDTH), net.ints(0, 0, 3, HEADS, DIM))
    turned = net.op("Transpose", whole, perm=[2, 0, 3, 1, 4])
    query, key, value = (net.op("Gather", turned, net.stored(np.int64(at)), axis=0) for at in range(3))
    query = net.op("Mul", query, net.number(DIM**-0.25))
    key = net.op("Mul", net.op("Transpose", key, perm=[0, 1, 3, 2]), net.number(DIM**-0.25))
    scores = net.op("MatMul", query, key)
    scores = net.op("Add", scores, mask) if mask else scores
    out = net.op("MatMul", net.op("Softmax", scores, axis=-1), value)
    merged = net.op("Reshape", net.op("Transpose", out, perm=[0, 2, 1, 3]), net.ints(0, 0, WIDTH))
    return net.linear(merged, WIDTH, WIDTH)


def merged(net: Net, x: str, mask: str | None) -> str:
    """Heads joined with the batch, the length in front, Gemm on rows: PyTorch's nn.MultiheadAttention."""
    assert mask is None
    rows = net.op("Reshape", net.op("Transpose", x, perm=[1, 0, 2]), net.ints(-1, WIDTH))
    parts = []
    for _ in range(3):
        flat = net.op("Gemm", rows, net.random(WIDTH, WIDTH), net.random(WIDTH), transB=1)
        tall = net.op("Reshape", flat, net.ints(LENGTH, BATCH * HEADS, DIM))
        parts.append(net.op("Transpose", tall, perm=[1, 0, 2]))
    query, key, value = parts
    out = _core(net, query, net.op("Transpose", key, perm=[0, 2, 1]), value, None)
    flat = net.op("Reshape", net.op("Transpose", out, perm=[1, 0, 2]), net.ints(LENGTH * BATCH, WIDTH))
    flat = net.op("Gemm", flat, net.random(WIDTH, WIDTH), net.random(WIDTH), transB=1)
    tall = net.op("Reshape", flat, net.ints(LENGTH, BATCH, WIDTH))
    made: str = net.op("Transpose", tall, perm=[1, 0, 2])
    return made


def guarded(net: Net, x: str, mask: str | None) -> str:
    """Scaled inside the queries, masked by Where, and guarded against rows without any key, as PyTorch 2 does."""
    shape = net.ints(0, -1, HEADS, DIM)
    parts = [net.op("Reshape", net.linear(x, WIDTH, WIDTH), shape) for _ in range(3)]
    query, key, value = (net.op("Transpose", one, perm=[0, 2, 1, 3]) for one in parts)
    query = net.op("Mul", query, net.op("Sqrt", net.number(DIM**-0.5)))
    scores = net.op("MatMul", query, net.op("Transpose", key, perm=[0, 1, 3, 2]))
    if mask:
        seen = net.op("Greater", mask, net.number(-1.0))
        scores = net.op("Where", seen, scores, net.number(-np.inf))
    weights = net.op("Softmax", scores, axis=-1)
    weights = net.op("Where", net.op("IsNaN", weights), net.number(0.0), weights)
    out = net.op("MatMul", weights, value)
    whole = net.op("Reshape", net.op("Transpose", out, perm=[0, 2, 1, 3]), net.ints(0, 0, WIDTH))
    return net.linear(whole, WIDTH, WIDTH)


Style = Callable[[Net, str, str | None], str]
STYLES: Mapping[str, Style] = MappingProxyType(
    {
        "separate": separate,
        "computed": computed,
        "split": split,
        "sliced": sliced,
        "vision": vision,
        "merged": merged,
        "guarded": guarded,
    }
)


def encoder(  # noqa: PLR0913  # what encoders differ in
    style: str = "separate",
    *,
    layers: int = 2,
    seed: int = 0,
    masked: bool = True,
    free: bool = False,
    pre: bool = False,
) -> Any:
    """Return an encoder x [batch, length, WIDTH] (and a mask [batch, length] of ones and zeros) -> y of x's shape.

    Args:
        style: how attention is written.
        layers: how many.
        seed: of the weights.
        masked: whether there is a mask.
        free: whether batch and length are free.
        pre: whether norms come before, not behind.
    """
    net = Net(seed)
    masked = masked and style != "merged"
    mask = None
    if masked:
        far = net.op("Unsqueeze", net.op("Sub", net.number(1.0), "mask"), net.ints(1, 2))
        mask = net.op("Mul", far, net.number(-10000.0))
    x = "x"
    for number in range(layers):
        x = _attended(net, STYLES[style], x, mask, pre=pre)
        x = _fed(net, x, f"up{number}", f"down{number}", pre=pre)
    net.nodes[-1].output[0] = "y"
    sizes: Any = ["batch", "length"] if free else [BATCH, LENGTH]
    inputs = {"x": (1, [*sizes, WIDTH]), **({"mask": (1, sizes)} if masked else {})}
    return net.model(inputs, {"y": (1, [*sizes, WIDTH])})


def _attended(net: Net, style: Style, x: str, mask: str | None, *, pre: bool) -> str:
    if pre:
        made: str = net.op("Add", x, style(net, net.norm(x), mask))
        return made
    return net.norm(net.op("Add", style(net, x, mask), x))


def _fed(net: Net, x: str, up: str, down: str, *, pre: bool) -> str:
    inner = net.linear(net.norm(x) if pre else x, WIDTH, INNER, up)
    inner = net.op("Relu", inner)
    made: str = net.op("Add", x, net.linear(inner, INNER, WIDTH, down))
    return made if pre else net.norm(made)


def samples(count: int = 16, seed: int = 1, *, masked: bool = True) -> dict[str, Any]:
    """Return inputs of an encoder; masks end at random places."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, LENGTH, WIDTH)).astype(np.float32)
    ends = rng.integers(2, LENGTH + 1, (count, 1))
    mask = (np.arange(LENGTH)[None] < ends).astype(np.float32)
    return {"x": x, **({"mask": mask} if masked else {})}


def plain(proto: Any) -> Any:
    """Return a model as techniques are given it."""
    import onnx_ir as ir

    from edgekit_converters.compress.figures import infer_shapes
    from edgekit_converters.graph.plain import make_plain

    model = ir.serde.deserialize_model(proto)
    make_plain(model)
    infer_shapes(model)
    return model


def ran(model: Any, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Return the outputs by ONNX's reference evaluator, one run of `BATCH` samples after another."""
    import onnx_ir as ir
    from onnx.reference import ReferenceEvaluator

    proto = ir.serde.serialize_model(model) if isinstance(model, ir.Model) else model
    evaluator = ReferenceEvaluator(proto)
    count = len(next(iter(feeds.values())))
    runs = [
        evaluator.run(None, {name: array[at : at + BATCH] for name, array in feeds.items()})
        for at in range(0, count, BATCH)
    ]
    return {one.name: np.concatenate([run[at] for run in runs]) for at, one in enumerate(proto.graph.output)}


def setting(folder: Path, calibration: Mapping[str, Any] | None, only: frozenset[str] | None = None) -> Any:
    """Return what a technique works with."""
    from edgekit_converters.compress.base import Setting

    return Setting(work=folder, source=folder / "source.onnx", calibration=calibration, only=only)


def step(text: str) -> Any:
    """Return a technique's options as a recipe's step gives them."""
    from edgekit_converters.compress.steps import parse_step

    return parse_step(text).values


def counted(model: Any) -> int:
    """Return the parameters that nodes use; what is unused goes, in place."""
    from onnx_ir.passes import common

    from edgekit_converters.graph.model import parameters

    common.RemoveUnusedNodesPass()(model)
    return parameters(model)
