"""Keras models trained for their precision, of both Kerases: what `keras_cases` found, and the files it left."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import edgekit

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["keras", "tf_keras"])
def cases(request: pytest.FixtureRequest, run_cases: Callable[..., Any]) -> Any:
    return run_cases("sdk.training.keras_cases", request.param, needs=("tensorflow", request.param, "sklearn"))


@pytest.mark.parametrize("precision", ["int8", "int4-weights"])
def test_a_model_that_loses_by_plain_quantization_gets_it_back(cases: Any, precision: str) -> None:
    found = cases[precision]
    assert found["float"] > 0.95
    assert found["scores"][0] < found["float"] - 0.2, "the model is not hard"
    assert max(found["scores"]) > found["float"] - 0.035
    assert found["same"]


@pytest.mark.parametrize("precision", ["int8", "int4-weights"])
def test_it_keeps_that_when_its_ranges_are_measured_anew(cases: Any, precision: str) -> None:
    found = cases[precision]
    assert found["recalibrated"] > found["float"] - 0.035


@pytest.mark.parametrize(("target", "precision"), [("tflite", "int8"), ("openvino", "int8:bias=off")])
def test_the_saved_file_converts_without_the_loss(cases: Any, tmp_path: Path, target: str, precision: str) -> None:
    """Biases stay as trained: corrected ones would take the net back to what it gives in float."""
    test = cases.folder / "int8" / "test.npz"
    options = edgekit.ConvertOptions(
        to=(target,), precisions=(precision,), calib=f"{test}[0:300]", eval=str(test), bench=False
    )
    (source,) = (cases.folder / "int8").glob("net.*")
    (made,) = edgekit.convert(source, options, tmp_path).artifacts
    assert made.accuracy is not None
    assert made.accuracy.artifact > cases["int8"]["float"] - 0.035


def test_the_weights_are_left_on_their_grid(cases: Any) -> None:
    found = cases["int4-weights"]
    assert found["values"] <= 15
    assert found["in_float"] == pytest.approx(max(found["scores"]), abs=0.004)


@pytest.mark.parametrize("precision", ["int8", "int4-weights"])
def test_nothing_of_the_training_stays_in_the_model(cases: Any, precision: str) -> None:
    assert cases[precision]["left"] == []
    assert cases[precision]["saved"] == 0


def test_after_a_kill_it_goes_on_to_the_same_weights(cases: Any) -> None:
    assert cases["goes on"]["course"]
    assert cases["goes on"]["apart"] == 0


def test_batch_norms_keep_their_statistics_once_frozen(cases: Any) -> None:
    assert cases["freezes"] == {"0.0": True, "1.0": False}


@pytest.mark.parametrize("precision", ["int8-weights", "int4-weights"])
def test_rounding_before_a_batch_norm_is_folded_is_rounding_after(cases: Any, precision: str) -> None:
    found = cases["folding"][precision]
    assert found["rounding"] > 0.01
    assert found["apart"] < 1e-4 * found["rounding"] + 1e-5


def test_every_layer_with_weights_computes_with_rounded_ones(cases: Any) -> None:
    """The oracle is the formula in NumPy; float32 sums of at most 60 products of size 1."""
    found = cases["kinds of layers"]
    assert len(found) == 12
    assert {name: apart for name, apart in found.items() if apart > 2e-6} == {}


def test_rounded_weights_let_gradients_through(cases: Any) -> None:
    assert cases["gradients"] == {"one": True}


def test_inputs_come_as_tuples_or_by_name_from_a_dataset(cases: Any) -> None:
    assert cases["several inputs"]["tuple"] > 0.75
    assert cases["several inputs"]["dict"] > 0.75


def test_a_subclassed_model_trains_once_it_was_called(cases: Any) -> None:
    found = cases["subclassed"]
    assert found["score"] > 0.85
    assert found["unbuilt"]["type"] == "DataError"
    assert "has no trainable weights; one that was never called has none yet" in found["unbuilt"]["message"]


@pytest.mark.parametrize(
    ("case", "kind", "message"),
    [
        ("no weights", "DataError", "has no trainable weights"),
        ("nothing to quantize", "DataError", "has no layer whose weights are quantized"),
        ("nan", "DataError", "the loss is nan in batch 1 of epoch 1"),
        ("suffix", "UsageError", "'net.xml' is not one of .keras, .h5, as this model is saved"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(cases: Any, case: str, kind: str, message: str) -> None:
    found = cases["refusals"][case]
    assert found["type"] == kind
    assert message in found["message"]
