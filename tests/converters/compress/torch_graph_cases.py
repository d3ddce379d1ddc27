"""Graphs as PyTorch modules: run as `python -m tests.converters.compress.torch_graph_cases FOLDER`."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch  # noqa: TID253  # a process of its own

from edgekit_converters.compress.torch_graph.learnt import learnt
from edgekit_converters.compress.torch_graph.module import FUNCTIONS, GraphModule
from edgekit_converters.graph.oracle import session
from tests.converters.compress.torch_graph_ops import CASES, OpCase
from tests.framework_cases import error_of, main


def op(case: OpCase, _work: Path) -> dict[str, Any]:
    """Return how far PyTorch is from ONNX Runtime, alone and mapped over several runs, and whether gradients flow."""
    proto = case.model()
    model = ir.serde.deserialize_model(proto)
    graph = GraphModule(model, learnt(model, lambda _node: True))
    feeds = case.arrays(case.given)
    names = [one.name for one in proto.graph.output]
    wanted = dict(zip(names, session(proto).run(names, feeds), strict=True))
    inputs = [torch.from_numpy(np.array(one)) for one in feeds.values()]
    for one in inputs:
        one.requires_grad_(one.is_floating_point())
    got = graph(*inputs)
    leaves = [one for one in (*inputs, *graph.parameters()) if one.requires_grad]
    gradients = []
    if not case.flat:
        total = sum((one**2).sum() for one in got.values())
        gradients = torch.autograd.grad(total, leaves, allow_unused=True)
    turned = [torch.stack([one, one.flip(0)]).detach() for one in inputs]
    mapped = torch.vmap(graph)(*turned)
    alone = [graph(*(one[at] for one in turned)) for at in (0, 1)]
    return {
        "ops": sorted({node.op_type for node in proto.graph.node}),
        "shapes": all(tuple(got[name].shape) == wanted[name].shape for name in names),
        "dtypes": all(got[name].detach().numpy().dtype == wanted[name].dtype for name in names),
        "apart": max(_apart(got[name].detach().numpy(), wanted[name]) for name in names),
        "mapped": max(
            _apart(mapped[name][at].detach().numpy(), alone[at][name].detach().numpy())
            for name in names
            for at in (0, 1)
        ),
        "learnt": len(graph.places),
        "flows": case.flat
        or any(one is not None and bool(torch.isfinite(one).all()) and bool(one.any()) for one in gradients),
        "finite": all(one is None or bool(torch.isfinite(one).all()) for one in gradients),
    }


def _apart(got: Any, wanted: Any) -> float:
    if not wanted.size:
        return 0.0
    return float(np.max(np.abs(got.astype(np.float64) - wanted)) / max(1.0, np.max(np.abs(wanted))))


def covered(_work: Path) -> dict[str, Any]:
    """Return the operators of the table that no case has."""
    have = {node.op_type for case in CASES.values() for node in case.model().graph.node}
    return {"missing": sorted(FUNCTIONS.keys() - have)}


def refusals(_work: Path) -> dict[str, Any]:
    def of(body: str, given: Any = None, stored: Any = None, opset: int = 18) -> dict[str, Any]:
        case = OpCase(body=body, given=given or {"x": (2, 3, 4)}, stored=stored or {}, opset=opset)
        model = ir.serde.deserialize_model(case.model())
        inputs = [torch.from_numpy(one) for one in case.arrays(case.given).values()]
        return error_of(lambda: GraphModule(model, ())(*inputs))

    weights = {"w": (1, 20, 4), "r": (1, 20, 5)}
    return {
        "op": of("y = Hardmax(x)"),
        "domain": error_of(partial(_of_domain, "com.example")),
        "pad": of('y = Resize<mode="linear",keep_aspect_ratio_policy="not_larger">(x, , , s)', {"x": (1, 1, 4, 4)},
                  {"s": np.array([1, 1, 2, 2])}),
        "crop": of('y = Resize<mode="linear",coordinate_transformation_mode="tf_crop_and_resize">(x, r, s)',
                   {"x": (1, 1, 4, 4)},
                   {"r": np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32), "s": np.ones(4, np.float32)}),
        "places": of("y, z = MaxPool<kernel_shape=[2]>(x)"),
        "activations": of('y = LSTM<hidden_size=5,activations=["Relu","Tanh","Tanh"]>(x, w, r)', {"x": (3, 2, 4)},
                          weights, 14),
        "lengths": of("y = LSTM<hidden_size=5>(x, w, r, , n)", {"x": (3, 2, 4)},
                      {**weights, "n": np.array([3, 2], np.int32)}, 14),
        "batches": of("y = GatherND<batch_dims=1>(x, i)", None, {"i": np.zeros((2, 1), np.int64)}),
        "type": of("a = Cast<to=13>(x) y = Cast<to=1>(a)"),
        "statistics": of("y, m, v = BatchNormalization<training_mode=1>(x, w, w, w, w)", None, {"w": (3,)}),
    }  # fmt: skip


def _of_domain(domain: str) -> Any:
    proto = OpCase(body="y = Relu(x)", given={"x": (2, 3)}).model()
    proto.graph.node[0].domain = domain
    return GraphModule(ir.serde.deserialize_model(proto), ())


def write_back(_work: Path) -> dict[str, Any]:
    """Weights of every precision go back as they came; trained ones arrive."""
    found = {}
    for kind in ("float16", "bfloat16", "float32", "float64"):
        dtype = ir.DataType[{"float32": "FLOAT", "float64": "DOUBLE"}.get(kind, kind.upper())]
        array = np.random.default_rng(0).normal(size=(4, 5)).astype(dtype.numpy())
        weights = ir.Value(name="w", const_value=ir.tensor(array, dtype=dtype, name="w"), type=ir.TensorType(dtype))
        x = ir.Value(name="x", shape=ir.Shape([2, 4]), type=ir.TensorType(dtype))
        node = ir.node("MatMul", [x, weights])
        node.outputs[0].name = "y"
        graph = ir.Graph([x], node.outputs, nodes=[node], initializers=[weights], opset_imports={"": 18})
        model = ir.Model(graph, ir_version=10)
        module = GraphModule(model, learnt(model, lambda _node: True))
        module.write_back(model)
        stored: Any = model.graph.initializers["w"].const_value
        same = bool((stored.numpy() == array).all())
        with torch.no_grad():
            next(module.parameters()).add_(1.0)
        module.write_back(model)
        after: Any = model.graph.initializers["w"].const_value
        moved = after.numpy().astype(np.float64) - array.astype(np.float64)
        found[kind] = {"same": same, "dtype": after.dtype == dtype, "moved": float(np.abs(moved - 1).max())}
    with torch.no_grad():
        next(module.parameters()).fill_(np.nan)
    return {**found, "nan": error_of(lambda: module.write_back(model))}


def what_is_learnt(_work: Path) -> dict[str, Any]:
    """Shared weights, masks, numbers, positions, tables and what must not change."""
    case = OpCase(
        body="""e = Gather(table, i) a = MatMul(e, w) b = Add(a, bias) c = Mul(b, number) d = Add(c, positions)
                f = MatMul(d, w) g = Mul(f, shared) h = Clip(g, low) j = Sub(h, shared) k = MatMul(j, outside)
                y = Identity(k)""",
        given={"i": np.zeros((2, 3), np.int64)},
        stored={"table": (7, 4), "w": (4, 4), "bias": (4,), "number": (1,), "positions": (3, 4), "shared": (4,),
                "low": np.float32(-1), "outside": (4, 4)},
    )  # fmt: skip
    model = ir.serde.deserialize_model(case.model())
    nodes = list(model.graph)
    return {
        "all": sorted(learnt(model, lambda _node: True)),
        "some": sorted(learnt(model, lambda node: node not in {nodes[5], nodes[9]})),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(
        {
            **{name: partial(op, case) for name, case in CASES.items()},
            "covered": covered,
            "refusals": refusals,
            "write back": write_back,
            "what is learnt": what_is_learnt,
        }
    )
