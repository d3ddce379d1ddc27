"""Products of matrices in every notation, and determinants, against ONNX Runtime."""

from typing import Any


def einsum(equation: str, *shapes: str, kind: str = "float") -> dict[str, Any]:
    """Return an Einsum of inputs of these shapes."""
    names = [f"x{place}" for place in range(len(shapes))]
    return {
        "inputs": {name: f"{kind}[{shape}]" for name, shape in zip(names, shapes, strict=True)},
        "body": f'y = Einsum<equation = "{equation}">({", ".join(names)})',
        "outputs": {"y": kind},
        "opset": 24,
    }


def gemm(attributes: str, x: str, z: str, added: str, **more: Any) -> dict[str, Any]:
    """Return a Gemm of inputs."""
    return {
        "inputs": {"x": f"float[{x}]", "z": f"float[{z}]", "c": f"float[{added}]"},
        "body": f"y = Gemm{attributes}(x, z, c)",
        **more,
    }


EQUATIONS = {
    "a transpose": einsum("ij->ji", "2, 3"),
    "no arrow": einsum("ij,jk", "2, 3", "3, 4"),
    "no arrow, the result in the letters' order": einsum("ba", "2, 3"),
    "a sum": einsum("ij->", "2, 3"),
    "a sum over one axis": einsum("ijk->ik", "2, 3, 4"),
    "a diagonal": einsum("ii->i", "3, 3"),
    "a trace": einsum("ii", "3, 3"),
    "a diagonal in front and a batch": einsum("bijib->jb", "2, 3, 4, 3, 2"),
    "the second turned around": einsum("bhqd,bhkd->bhqk", "2, 3, 4, 5", "2, 3, 6, 5"),
    "the first turned around": einsum("dq,dk->qk", "5, 4", "5, 6"),
    "the result turned around": einsum("ij,jk->ki", "2, 3", "3, 4"),
    "an outer product": einsum("i,j->ij", "3", "4"),
    "value by value": einsum("ij,ij->ij", "3, 4", "3, 4"),
    "an inner product": einsum("i,i->", "4", "4"),
    "several inner letters": einsum("aijb,ckij->abck", "2, 3, 4, 5", "6, 2, 3, 4"),
    "a letter only one operand has": einsum("ijx,jk->ik", "2, 3, 2", "3, 4"),
    "three operands": einsum("ij,jk,kl->il", "2, 3", "3, 4", "4, 5"),
    "three operands, one letter in all": einsum("ia,ja,ka->ijk", "2, 3", "4, 3", "5, 3"),
    "ellipsis as a batch": einsum("...ij,...jk->...ik", "2, 3, 4", "2, 4, 5"),
    "ellipsis that broadcasts": einsum("...ij,jk->...ik", "2, 5, 3, 4", "4, 5"),
    "ellipsis of size 1": einsum("...ij,...jk->...ik", "1, 3, 4", "6, 4, 5"),
    "blanks": einsum(" i j , j k -> i k ", "2, 3", "3, 4"),
    "integers": einsum("ij,jk->ik", "2, 3", "3, 4", kind="int32"),
}
CASES: dict[str, dict[str, Any]] = {
    **{f"einsum: {name}": case for name, case in EQUATIONS.items()},
    "gemm of run time": gemm("", "2, 3", "3, 4", "4"),
    "gemm of run time, both turned around": gemm("<transA = 1, transB = 1>", "3, 2", "4, 3", "2, 1"),
    "gemm of run time, factors": gemm("<alpha = 0.5, beta = 2.0>", "2, 3", "3, 4", "2, 4"),
    "gemm with a constant matrix added": {
        "inputs": {"x": "float[2, 3]", "z": "float[3, 4]"},
        "body": "y = Gemm<beta = 0.5>(x, z, c)",
        "weights": {"c": [2, 4]},
    },
    "gemm with a constant on the left": {
        "inputs": {"z": "float[3, 4]"},
        "body": "y = Gemm(x, z)",
        "weights": {"x": [2, 3]},
    },
    "gemm with something of run time added to a dense layer": {
        "inputs": {"x": "float[2, 3]", "c": "float[]"},
        "body": "y = Gemm<beta = 3.0>(x, k, c)",
        "weights": {"k": [3, 4]},
    },
    **{
        f"product of bytes over {inner}": {
            "inputs": {"x": f"uint8[2, 3, {inner}]", "z": f"int8[{inner}, 4]"},
            "body": "y = MatMulInteger(x, z, a, b)",
            "weights": {"a": {"uint8": 255}, "b": {"int8": [-128, 127, 3, 0]}},
            "outputs": {"y": "int32"},
        }
        for inner in (5, 256, 700)
    },
    "matmul of five dimensions": {
        "inputs": {"x": "float[2, 3, 2, 4, 5]", "z": "float[2, 3, 2, 5, 6]"},
        "body": "y = MatMul(x, z)",
    },
    **{
        f"determinant of {size}": {"inputs": {"x": f"float[2, 3, {size}, {size}]"}, "body": "y = Det(x)"}
        for size in range(1, 6)
    },
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a large determinant": (
        {"inputs": {"x": "float[6, 6]"}, "body": "y = Det(x)"},
        "its matrices have 6 rows, 5 are the most",
    ),
    "a product of integers": (
        {"inputs": {"x": "int32[2, 3]", "z": "int32[3, 2]"}, "body": "y = MatMul(x, z)", "outputs": {"y": "int32"}},
        "TFLite has no product of matrices of int32",
    ),
}
