"""Graphs as PyTorch modules: what ONNX Runtime computes, through which gradients flow."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.converters.compress.torch_graph_ops import CASES


@pytest.fixture(scope="module")
def cases(run_cases: Callable[..., Any]) -> Any:
    return run_cases("converters.compress.torch_graph_cases", needs=("torch", "onnx_ir", "onnxruntime"))


@pytest.mark.parametrize("name", CASES)
def test_pytorch_computes_what_onnx_runtime_does(cases: Any, name: str) -> None:
    found = cases[name]
    assert found["shapes"]
    assert found["dtypes"]
    assert found["apart"] < 2e-5  # float32 in other kernels
    assert found["mapped"] < 2e-5
    assert found["flows"]
    assert found["finite"]


def test_every_operator_of_the_table_is_compared(cases: Any) -> None:
    assert cases["covered"]["missing"] == []


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("op", "op 'Hardmax' (node 'y') cannot be trained through: it has no PyTorch form"),
        ("domain", "op 'Relu' of 'com.example' (node 'y') cannot be trained through: it has no PyTorch form"),
        ("pad", "op 'Resize' (node 'y') cannot be trained through: its keep_aspect_ratio_policy is not_larger"),
        ("crop", "its coordinate_transformation_mode is tf_crop_and_resize"),
        ("places", "it has the places of the largest as an output"),
        ("activations", "its activations are Relu, Tanh, Tanh"),
        ("lengths", "its sequences have lengths of their own"),
        ("batches", "its batch_dims is 1"),
        ("type", "PyTorch computes nothing with UINT64"),
        ("statistics", "it normalises by the batch also when the model is run"),
    ],
)
def test_what_has_no_pytorch_form_is_refused_by_name(cases: Any, which: str, message: str) -> None:
    found = cases["refusals"][which]
    assert found["type"] == "UnsupportedError"
    assert message in found["message"]


def test_weights_go_back_in_the_precision_they_came_in(cases: Any) -> None:
    found = cases["write back"]
    for kind, step in {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-6, "float64": 1e-12}.items():
        assert found[kind]["same"], kind
        assert found[kind]["dtype"], kind
        assert found[kind]["moved"] < step, kind
    assert found["nan"]["type"] == "TrainingError"
    assert "trained weights 'w' are no numbers" in found["nan"]["message"]


def test_weights_biases_and_tables_are_learnt_but_no_numbers_and_no_positions(cases: Any) -> None:
    assert cases["what is learnt"]["all"] == ["bias", "outside", "table", "w"]
    assert cases["what is learnt"]["some"] == ["bias", "table"]
