"""Options from Python, the command line and recipes."""

from pathlib import Path

import pytest

from edgekit import _options, _recipe
from edgekit.errors import DataError, UsageError


def test_precisions_default_to_fp32_and_int8_with_calibration() -> None:
    assert _options.ConvertOptions(to=("tflite",)).wanted == (("tflite", "fp32"),)
    assert _options.ConvertOptions(to=("tflite",), calib="x.npz").wanted == (("tflite", "fp32"), ("tflite", "int8"))


def test_a_pair_asked_for_twice_is_made_once() -> None:
    options = _options.ConvertOptions(to=("tflite", "tflite"), precisions=("fp32", "fp32"))
    assert options.wanted == (("tflite", "fp32"),)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"to": ("coreml",)}, "there are: tflite, openvino"),
        ({"max_drop": -0.1, "eval": "x"}, "not 0 or more"),
        ({"max_drop": 0.1}, "give --eval"),
        ({"threads": 0}, "not 1 or more"),
        ({"precisions": ("auto",)}, "give --eval"),
        ({"io_dtype": "int8"}, "there are: float, quantized"),
        ({"time_budget": -1.0}, "not a number of seconds"),
        ({"bundle": "v1"}, "version 'v1' is not of the form"),
        ({"lane": "torch"}, "there are: tensorflow, onnx"),
    ],
    ids=[
        "target",
        "drop-range",
        "drop-without-data",
        "threads",
        "auto-without-data",
        "io-dtype",
        "time-budget",
        "bundle",
        "lane",
    ],
)
def test_a_wrong_value_is_a_usage_error(values: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        _options.ConvertOptions(**values)  # type: ignore[arg-type]  # wrong on purpose


def test_a_recipe_repeats_the_options(tmp_path: Path) -> None:
    options = _options.ConvertOptions(
        precisions=("fp32", "int8"),
        calib="kws.npz[0:200]",
        eval="kws.npz[200:1000]",
        preprocess={"resize": [240, 320], "mean": 127},
        max_drop=0.005,
        shapes={"in:0": (1, 3, 8, 8)},
        constants={"sr": 16000, "gain": 0.5, "loud": True},
        lane="onnx",
        bench=False,
        threads=2,
        seed=7,
    )
    path = tmp_path / "recipe.lock.toml"
    path.write_text(_recipe.to_recipe(options, sha256="ab"))
    assert _recipe.from_recipe(path) == options


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("schema = 2", "has schema 2"),
        ("schema = 1\n[convert]\nthread = 2", "unknown key 'convert.thread'"),
        ("schema = 1\n[convert]\nthreads = 'two'", "wrong type for 'convert.threads'"),
        ("schema = ", "is not TOML"),
    ],
    ids=["schema", "key", "type", "syntax"],
)
def test_a_broken_recipe_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        _recipe.from_recipe(path)


def test_shapes_and_preprocessing_are_read() -> None:
    assert _options.parse_shape("serving_default_x:0=1x3x224x224") == ("serving_default_x:0", (1, 3, 224, 224))
    got = _options.parse_preprocess("resize=240x320,mean=0.5:0.4:0.3,std=128,layout=nchw")
    assert got == {"resize": [240, 320], "mean": [0.5, 0.4, 0.3], "std": 128, "layout": "nchw"}


@pytest.mark.parametrize(
    ("text", "value"), [("sr=16000", 16000), ("a=b=-0.5", -0.5), ("loud=true", True)], ids=["int", "float", "bool"]
)
def test_constants_are_read_as_what_they_are(text: str, value: float) -> None:
    name, read = _options.parse_constant(text)
    assert (name, read, type(read)) == (text.rpartition("=")[0], value, type(value))


@pytest.mark.parametrize("text", ["16000", "sr=", "=1", "sr=loud", "sr=nan", "sr=1,2"])
def test_a_constant_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="name=16000"):
        _options.parse_constant(text)


@pytest.mark.parametrize("text", ["1x3", "x=", "x=1x-2", "x=1xa", "=1x2"])
def test_a_shape_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"name=1x3x224x224"):
        _options.parse_shape(text)


def test_onnx_is_a_target_where_asked_and_not_by_itself() -> None:
    assert _options.ConvertOptions().to == ("tflite", "openvino")
    assert _options.ConvertOptions(to=("onnx",)).wanted == (("onnx", "fp32"),)
