"""PyTorch nets trained for their precision: what `torch_cases` found, and the files it left."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import edgekit

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cases(run_cases: Callable[..., Any]) -> Any:
    return run_cases("sdk.training.torch_cases", needs=("torch", "nncf", "openvino", "sklearn", "keras"))


@pytest.mark.parametrize("precision", ["int8", "int4-weights"])
def test_a_net_that_loses_by_plain_quantization_gets_it_back(cases: Any, precision: str) -> None:
    found = cases[precision]
    assert found["float"] > 0.95
    assert found["scores"][0] < found["float"] - 0.2, "the net is not hard"
    assert max(found["scores"]) > found["float"] - 0.035
    assert found["told"][0] == "quantize"
    assert set(found["told"][1:]) == {"train"}


@pytest.mark.parametrize("precision", ["int8", "int4-weights"])
def test_the_openvino_file_keeps_the_trained_quantizers(cases: Any, precision: str) -> None:
    score = edgekit.evaluate(cases.folder / precision / "net.xml", str(cases.folder / precision / "test.npz"))
    assert score.accuracy.artifact == pytest.approx(max(cases[precision]["scores"]), abs=0.006)
    text = (cases.folder / precision / "net.xml").read_text()
    assert 'type="FakeQuantize"' in text if precision == "int8" else 'element_type="i4"' in text


@pytest.mark.parametrize(
    ("target", "trained", "precision"),
    [
        ("tflite", "int8", "int8"),
        ("openvino", "int8", "int8:bias=off"),
        ("tflite", "int4-weights", "int4-weights"),
        ("openvino", "int4-weights", "int4-weights:group=-1,all"),
    ],
)
def test_the_float_file_is_quantized_again_without_the_loss(
    cases: Any, tmp_path: Path, target: str, trained: str, precision: str
) -> None:
    """By what `edgekit convert` does with any net; plain quantization of the same net had lost a lot."""
    test = cases.folder / trained / "test.npz"
    options = edgekit.ConvertOptions(
        to=(target,), precisions=(precision,), calib=f"{test}[0:300]", eval=str(test), bench=False
    )
    (made,) = edgekit.convert(cases.folder / trained / "net.pt2", options, tmp_path).artifacts
    assert made.accuracy is not None
    assert made.accuracy.artifact > cases[trained]["float"] - 0.045


def test_the_users_module_has_the_trained_weights_on_their_grid_and_no_quantizers(cases: Any) -> None:
    found = cases["int4-weights"]
    assert found["same"]
    assert not found["left"]
    assert found["values"] <= 15
    assert found["trained_float"] == pytest.approx(max(found["scores"]), abs=0.004)


def test_after_a_kill_it_goes_on_to_the_same_weights(cases: Any) -> None:
    assert cases["goes on"] == {"course": True, "weights": True}


def test_batch_norms_keep_their_statistics_once_frozen(cases: Any) -> None:
    assert cases["freezes"] == {"0.0": True, "1.0": False}


def test_the_seed_decides_a_dataloaders_order(cases: Any) -> None:
    assert cases["loaders"] == {"same": True, "other": True}


def test_inputs_come_as_tuples_or_by_name(cases: Any) -> None:
    assert cases["several inputs"]["tuple"] > 0.8
    assert cases["several inputs"]["dict"] > 0.8
    folder = cases.folder / "several inputs"
    for name, inputs in (("tuple", ["top", "bottom"]), ("dict", ["bottom", "top"]), ("any", ["input_0", "input_1"])):
        described = edgekit.inspect(folder / f"{name}.xml")
        assert [one["name"] for one in described["inputs"]] == inputs
        assert [list(one["shape"]) for one in described["inputs"]] == [[1, 32]] * 2


@pytest.mark.parametrize(
    ("precision", "levels", "activations"),
    [("int8", 255, True), ("int8-weights", 255, False), ("int4-weights", 15, False)],
)
def test_the_precision_decides_what_is_rounded(cases: Any, precision: str, levels: int, activations: bool) -> None:
    found = cases["grids"][precision]
    assert found["levels"] == [levels]
    assert found["weights"] == 4
    assert bool(found["activations"]) == activations


@pytest.mark.parametrize(
    ("case", "kind", "message"),
    [
        ("no model", "UsageError", "a 'builtins.object' is no torch.nn.Module, keras.Model or tf_keras.Model"),
        ("no weights", "DataError", "the net has no parameters"),
        ("nothing to quantize", "DataError", "the net has no layer that NNCF quantizes"),
        ("nan", "DataError", "the loss is nan in batch 1 of epoch 1"),
        ("vector", "DataError", "the loss is of shape (40, 10), not one number"),
        ("suffix", "UsageError", "'net.onnx' is not one of .pt2, as this model is saved"),
        ("float to openvino", "UsageError", "'net.xml' is not one of .pt2, as this model is saved"),
        ("two inputs", "UsageError", "train_data gives 2 inputs and the net takes 1"),
        ("no nncf", "ConverterMissingError", "NNCF is not installed"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(cases: Any, case: str, kind: str, message: str) -> None:
    found = cases["refusals"][case]
    assert (found["type"], found["message"]) == (kind, message)


def test_a_missing_nncf_names_the_extras(cases: Any) -> None:
    assert cases["refusals"]["no nncf"]["notes"] == ["pip install 'edgekit-sdk[torch,openvino]'"]


def test_keras_on_another_backend_is_told_so(cases: Any) -> None:
    found = cases["keras on torch"]
    assert (found["type"], found["message"]) == (
        "UsageError", "Keras runs on 'torch' here; training needs it on 'tensorflow'",
    )  # fmt: skip
