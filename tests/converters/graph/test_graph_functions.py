"""Ops that ONNX defines by functions, replaced by their bodies."""

from typing import Any

import numpy as np
import pytest

from edgekit_converters.graph.functions import without_functions

CASES = {
    "defaults of attributes": ("Elu", "float[3, 4] x", "y = Elu(x)", 22),
    "a body that depends on types": ("Clip", "float[3, 4] x, float k", "y = Clip(x,, k)", 18),
    "an attribute given": ("Celu", "float[3, 4] x", "y = Celu<alpha = 0.3>(x)", 18),
    "a body that holds functions again": (
        "MeanVarianceNormalization",
        "float[3, 4] x",
        "y = MeanVarianceNormalization<axes = [0, 1]>(x)",
        18,
    ),
    "inside a branch": (
        "Elu",
        "float[3, 4] x, bool c",
        (
            "y = If(c) <then_branch = a () => (float[3, 4] p) { p = Elu(x) }, "
            "else_branch = b () => (float[3, 4] q) { q = Neg(x) }>"
        ),
        22,
    ),
}


def model_of(inputs: str, body: str, opset: int) -> Any:
    import onnx

    return onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": {opset}]> g ({inputs}) => (float[3, 4] y) {{ {body} }}'
    )


def ops_of(graph: Any) -> set[str]:
    inner = [one.g for node in graph.node for one in node.attribute if one.HasField("g")]
    return {node.op_type for node in graph.node}.union(*map(ops_of, inner))


@pytest.mark.parametrize("name", CASES)
def test_a_body_gives_what_the_op_gives(name: str, rng: np.random.Generator) -> None:
    from onnx.reference import ReferenceEvaluator

    op, inputs, body, opset = CASES[name]
    model = model_of(inputs, body, opset)
    given = {
        "x": rng.normal(size=(3, 4)).astype(np.float32),
        "k": np.asarray(0.5, np.float32),
        "c": np.asarray(1, np.bool_),
    }
    feeds = {value.name: given[value.name] for value in model.graph.input}
    (wanted,) = ReferenceEvaluator(model).run(None, feeds)
    plain = without_functions(model, lambda _: False)
    assert op not in ops_of(plain.graph)
    assert not plain.functions
    (got,) = ReferenceEvaluator(plain).run(None, feeds)
    assert np.allclose(got, wanted, atol=1e-6)


def test_what_is_kept_stays() -> None:
    model = model_of("float[3, 4] x", "a = Elu(x) y = Celu(a)", 22)
    assert ops_of(without_functions(model, lambda op: op in {"Elu", "Mul"}).graph) & {"Elu", "Celu"} == {"Elu"}
