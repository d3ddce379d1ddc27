"""ONNX in: what a file is said to hold, its answers by ONNX Runtime, and everything that is refused."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters import random_calibration, tflite_file
from edgekit_converters.errors import CalibrationError, ConversionError, ModelFileError, UnsupportedError
from edgekit_converters.frontends.base import Loaded, LoadRequest
from edgekit_converters.frontends.onnx import OnnxFrontend
from edgekit_converters.jobs import JobRunner
from edgekit_converters.lowering.proof import run_tflite

pytestmark = pytest.mark.slow

NET = "a = Conv<pads = [1, 1, 1, 1]>(image, w, b)\n r = Relu(a)\n g = GlobalAveragePool(r)\n scores = Flatten(g)"
LOOP = "y = Loop(c,, x) <body = s (int64 i, bool g, float[1] v) => (bool h, float[1] n) { h = Identity(g) n = Neg(v) }>"
Write = Callable[..., Path]
Load = Callable[..., Loaded]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a model given by its text, with seeded weights of the given shapes."""

    def written(
        body: str = NET,
        inputs: str = "float[N, 3, 8, 8] image",
        outputs: str = "float[N, 4] scores",
        weights: Mapping[str, Any] | None = None,
        opset: int = 13,
    ) -> Path:
        import onnx

        text = f'<ir_version: 8, opset_import: ["": {opset}]> g ({inputs}) => ({outputs}) {{ {body} }}'
        model = onnx.parser.parse_model(text)
        rng = np.random.default_rng(3)
        for name, given in (weights or {"w": (4, 3, 3, 3), "b": (4,)}).items():
            array = given if isinstance(given, np.ndarray) else rng.normal(size=given).astype(np.float32)
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
        path = tmp_path / "net.onnx"
        onnx.save(model, path)
        return path

    return written


@pytest.fixture
def load(jobs: JobRunner, work: Path) -> Load:
    def loaded(path: Path, **asked: Any) -> Loaded:
        return OnnxFrontend().load(LoadRequest(model=path, work=work, **asked), jobs)

    return loaded


@pytest.fixture
def refused(load: Load, work: Path) -> Callable[..., ConversionError]:
    """Return the error of a load with TFLite asked for; one sentence, and nothing written."""

    def refused(path: Path, kind: type[ConversionError], **asked: Any) -> ConversionError:
        with pytest.raises(kind) as caught:
            load(path, **{"want_tflite": True, **asked})
        assert "\n" not in str(caught.value)
        assert not [one.name for one in work.iterdir() if one.suffix != ".npz"]
        return caught.value

    return refused


def test_the_description_names_shapes_parameters_and_work(write: Write, load: Load) -> None:
    path = write()
    source = load(path).source
    (image,), (scores,) = source.inputs, source.outputs
    assert (image.name, image.shape, image.dtype) == ("image", (None, 3, 8, 8), "float32")
    assert (scores.name, scores.shape) == ("scores", (None, 4))
    assert source.parameters == 4 * 3 * 9 + 4
    assert source.macs == 8 * 8 * 4 * 3 * 9
    assert source.size_bytes == path.stat().st_size


def test_weights_among_the_inputs_are_no_inputs(write: Write, load: Load) -> None:
    path = write(inputs="float[1, 3, 8, 8] image, float[4, 3, 3, 3] w, float[4] b", opset=8)
    assert [one.name for one in load(path).source.inputs] == ["image"]


def test_the_reference_is_what_onnx_runtime_says_whatever_the_batch(write: Write, load: Load) -> None:
    import onnxruntime

    images = np.random.default_rng(1).normal(size=(5, 3, 8, 8)).astype(np.float32)
    free: Any = load(write(), reference_inputs={"image": images}).reference["scores"]
    session = onnxruntime.InferenceSession(str(write()), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(free, session.run(None, {"image": images})[0])
    fixed = write(inputs="float[2, 3, 8, 8] image", outputs="float[2, 4] scores")
    again: Any = load(fixed, reference_inputs={"image": images}).reference["scores"]
    np.testing.assert_allclose(again, free, rtol=1e-6)


def test_names_and_order_stay_those_of_the_source(write: Write, load: Load) -> None:
    path = write(
        "d = Sub(z, a)\n y = Cast<to = 1>(k)\n c = Add(y, d)",
        "float[2] z, int64[2] k, float[2] a",
        "float[2] y, float[2] c",
    )
    loaded = load(path, want_tflite=True)
    assert loaded.float_tflite is not None
    described = tflite_file.read(loaded.float_tflite)
    assert [(name, one.dtype) for name, one in described.public_inputs] == [
        ("z", "float32"),
        ("k", "int64"),
        ("a", "float32"),
    ]
    assert [name for name, _ in described.public_outputs] == ["y", "c"]
    assert [one.name for one in loaded.source.inputs] == ["z", "k", "a"]


def test_a_free_batch_stays_free_in_tflite(write: Write, load: Load) -> None:
    loaded = load(write(), want_tflite=True)
    assert loaded.warnings == ()
    assert loaded.float_tflite is not None
    described = tflite_file.read(loaded.float_tflite)
    assert described.public_inputs[0][1].shape == (None, 3, 8, 8)
    assert described.public_outputs[0][1].shape == (None, 4)
    (step,) = loaded.steps
    assert step.after["transposes"] == 1
    images = np.random.default_rng(2).random((3, 3, 8, 8)).astype(np.float32)
    wanted: Any = load(write(), reference_inputs={"image": images}).reference["scores"]
    got: Any = run_tflite(loaded.float_tflite.read_bytes(), described, {"image": images})["scores"]
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_a_batch_that_cannot_stay_free_becomes_1_and_is_told(write: Write, load: Load) -> None:
    # the median of the batch: its place among the sorted rows follows from the batch in no way that is known
    body = "s = Shape(x)\n n = Slice(s, zero, one)\n h = Mul(n, n)\n k = Div(h, three)\n y = Expand(x, k)"
    weights = {"zero": np.array([0]), "one": np.array([1]), "three": np.array([4])}
    loaded = load(write(body, "float[N] x", "float[M] y", weights), want_tflite=True)
    assert loaded.float_tflite is not None
    assert loaded.warnings[0] == "the free first dimension of input 'x' is fixed to 1 for TFLite"
    assert loaded.warnings[1].startswith("it cannot stay free: ")


def test_free_sizes_of_an_image_stay_free(write: Write, load: Load) -> None:
    path = write(inputs="float[N, 3, H, W] image")
    loaded = load(path, want_tflite=True)
    assert loaded.float_tflite is not None
    described = tflite_file.read(loaded.float_tflite)
    assert described.public_inputs[0][1].shape == (None, 3, None, None)
    images = np.random.default_rng(2).random((2, 3, 13, 21)).astype(np.float32)
    wanted: Any = load(path, reference_inputs={"image": images}).reference["scores"]
    got: Any = run_tflite(loaded.float_tflite.read_bytes(), described, {"image": images})["scores"]
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_shapes_given_reach_tflite_and_openvino(write: Write, load: Load) -> None:
    import onnx

    path = write(inputs="float[N, 3, H, W] image")
    loaded = load(path, shapes={"image": (1, 3, 10, 6)}, want_tflite=True)
    assert not loaded.warnings
    frozen = onnx.load(loaded.openvino_input)
    assert [one.dim_value for one in frozen.graph.input[0].type.tensor_type.shape.dim] == [1, 3, 10, 6]
    assert loaded.source.macs == 10 * 6 * 4 * 3 * 9


@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        ({"picture": (1, 3, 8, 8)}, "no input 'picture'; it has: image"),
        ({"image": (1, 4, 8, 8)}, "input 'image' has shape \\?x3x8x8, which the shape given does not fit"),
        ({"image": (1, 3, 8)}, "input 'image' has shape \\?x3x8x8"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(
    shapes: Any, says: str, write: Write, refused: Callable[..., ConversionError]
) -> None:
    assert refused(write(), UnsupportedError, shapes=shapes).args
    with pytest.raises(UnsupportedError, match=says):
        raise refused(write(), UnsupportedError, shapes=shapes)


def test_everything_without_a_lowering_is_named_at_once(write: Write, refused: Callable[..., ConversionError]) -> None:
    body = "a = RandomNormalLike(x)\n c = Relu(a)\n d = Multinomial(x)\n e = RandomNormalLike(x)\n y = Add(c, e)"
    body += "\n z = Identity(d)"
    error = refused(write(body, "float[2, 2] x", "float[2, 2] y, int32[2, 1] z"), UnsupportedError)
    why = "its result is random, so that no run could prove the TFLite form right"
    assert str(error) == (
        f"model 'net.onnx': op 'RandomNormalLike' (node 'a' #0) has no TFLite lowering: {why} (2 nodes)"
    )
    also = f"also op 'Multinomial' (node 'd' #2) has no TFLite lowering: {why}"
    assert error.__notes__ == [also, "try --to openvino"]


@pytest.mark.parametrize(
    ("op", "says"),
    [
        ("Frob", "model 'net.onnx': op 'Frob' (node 'y' #1) is no op of ONNX opset 13"),
        ("Gelu", "model 'net.onnx': op 'Gelu' (node 'y' #1) is no op of ONNX opset 13"),
        ("my.own.Frob", "op 'Frob' (node 'y' #1) of 'my.own' is nothing ONNX Runtime has"),
    ],
)
def test_an_op_that_is_none_is_named_with_its_node(
    op: str, says: str, write: Write, refused: Callable[..., ConversionError]
) -> None:
    import onnx

    path = write("a = Relu(x)\n y = Neg(a)", "float[2] x", "float[2] y")
    model = onnx.load(path)
    model.opset_import.append(onnx.helper.make_opsetid("my.own", 1))
    node = model.graph.node[1]
    node.domain, node.op_type = op.rpartition(".")[::2]
    path.write_bytes(model.SerializeToString())
    assert str(refused(path, UnsupportedError)) == says


def test_reference_data_that_onnx_runtime_stops_on_is_refused(
    write: Write, refused: Callable[..., ConversionError]
) -> None:
    path = write("y = Gather<axis = 0>(w, x)", "int64[N, 4] x", "float[N, 4, 3, 3, 3] y")
    error = refused(path, CalibrationError, reference_inputs={"x": np.full((2, 4), 77)}, want_tflite=False)
    assert str(error).startswith("reference data: ONNX Runtime stops on it")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"this is not a model at all, it is text\n" * 40, "not ONNX or is truncated"),
        (b"\x08\x08", "not ONNX or is truncated"),
        (b"\x00" * 64, "not ONNX or is truncated"),
    ],
    ids=["empty", "text", "no graph", "zeros"],
)
def test_a_file_that_is_no_model_is_refused(
    data: bytes, says: str, tmp_path: Path, refused: Callable[..., ConversionError]
) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match=says):
        raise refused(path, ModelFileError)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_refused(share: float, write: Write, refused: Callable[..., ConversionError]) -> None:
    path = write()
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert "net.onnx" in str(refused(path, ModelFileError))


def test_a_missing_file_is_refused(tmp_path: Path, refused: Callable[..., ConversionError]) -> None:
    assert "does not exist" in str(refused(tmp_path / "none.onnx", ModelFileError))


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/hostname", "a/../../weights.bin"])
def test_external_data_that_is_missing_or_elsewhere_is_refused(
    location: str, write: Write, tmp_path: Path, refused: Callable[..., ConversionError]
) -> None:
    import onnx

    path = write()
    model = onnx.load(path)
    one = model.graph.initializer[0]
    if location != "weights.bin":
        (tmp_path.parent / "weights.bin").write_bytes(one.raw_data)
    one.ClearField("raw_data")
    one.data_location = onnx.TensorProto.EXTERNAL
    one.external_data.add(key="location", value=location)
    path.write_bytes(model.SerializeToString())
    assert "net.onnx" in str(refused(path, ModelFileError))


def test_external_data_beside_the_model_is_read_and_counted(write: Write, load: Load, tmp_path: Path) -> None:
    import onnx

    inside = load(write(), want_tflite=True)
    model = onnx.load(write())
    path = tmp_path / "outside.onnx"
    onnx.save(model, path, save_as_external_data=True, location="outside.bin", size_threshold=0)
    outside = load(path, want_tflite=True)
    both = path.stat().st_size + (tmp_path / "outside.bin").stat().st_size
    assert (outside.source.size_bytes, outside.source.parameters) == (both, inside.source.parameters)
    assert outside.source.sha256 != inside.source.sha256


def test_reference_data_that_does_not_fit_is_refused(write: Write, refused: Callable[..., ConversionError]) -> None:
    refused(write(), CalibrationError, reference_inputs={"image": np.zeros((2, 3, 9, 8), np.float32)})


def test_weights_that_are_no_numbers_are_refused(write: Write, refused: Callable[..., ConversionError]) -> None:
    weights = {"w": np.full((4, 3, 3, 3), np.nan, np.float32), "b": (4,)}
    error = refused(write(weights=weights), UnsupportedError)
    assert str(error) == "model 'net.onnx': its weight 'w' holds values that are no numbers (NaN)"


def test_infinite_weights_are_no_reason_to_refuse(write: Write, load: Load) -> None:
    mask = {"m": np.array([-np.inf, 0, 1, np.inf], np.float32)}
    loaded = load(write("y = Add(x, m)", "float[1, 4] x", "float[1, 4] y", mask), want_tflite=True)
    assert loaded.float_tflite is not None


def test_what_is_no_number_on_random_inputs_is_not_called_a_fault(
    write: Write, refused: Callable[..., ConversionError]
) -> None:
    error = refused(write("z = Neg(x)\n y = Log(z)", "float[1, 4] x", "float[1, 4] y"), UnsupportedError)
    assert "output 'y' is no number (NaN) on random inputs" in str(error)


def test_what_is_always_infinite_is_as_good_as_any_number(write: Write, load: Load) -> None:
    below = {"m": np.full(4, -np.inf, np.float32)}
    loaded = load(write("y = Add(x, m)", "float[1, 4] x", "float[1, 4] y", below), want_tflite=True)
    assert loaded.float_tflite is not None


OPENVINO_ALONE = {
    "a graph inside": (
        LOOP,
        "int64 c, float[1] x",
        "float[1] y",
    ),
    "indices that random numbers are not": ("y = Gather<axis = 0>(w, x)", "int64[N, 4] x", "float[N, 4, 3, 3, 3] y"),
    "strings": ("y = Identity(x)", "string[N] x", "string[N] y"),
    "free sizes": (NET, "float[N, 3, H, W] image", "float[N, 4] scores"),
}


@pytest.mark.parametrize("name", OPENVINO_ALONE)
def test_what_only_tflite_lacks_does_not_stop_a_load_without_it(name: str, write: Write, load: Load) -> None:
    loaded = load(write(*OPENVINO_ALONE[name]))
    assert not loaded.source.macs
    assert loaded.openvino_input.is_file()


@pytest.mark.shared_data
def test_the_face_detector_is_the_same_in_tflite_with_one_transpose(
    shared_data: Path, load: Load, run_artifact: Callable[..., dict[str, Any]]
) -> None:
    folder = shared_data / "face-rfb"
    golden = np.load(folder / "golden.npz")
    photos = ((golden["x_uint8"].astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2)
    loaded = load(folder / "version-RFB-320.onnx", want_tflite=True)
    assert loaded.float_tflite is not None
    found = run_artifact(loaded.float_tflite, {"input": np.ascontiguousarray(photos)})
    # sums of some hundred float32 products in another order, thirty layers deep; measured 1.5e-6 and 4.2e-7
    np.testing.assert_allclose(found["scores"], golden["scores"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(found["boxes"], golden["boxes"], rtol=0, atol=1e-4)
    assert loaded.steps[0].after["transposes"] == 1


RATE = {
    "inputs": "float[1, 4] x, int64 sr",
    "outputs": "float[1, 4] y",
    "body": "c = Equal(sr, r)\n y = If(c) <then_branch = t () => (float[1, 4] o) { o = Neg(x) }, "
    "else_branch = e () => (float[1, 4] o) { o = Abs(x) }>",
    "weights": {"r": np.asarray(16000)},
}


def test_an_input_fixed_to_a_value_is_no_input_any_more(write: Write, load: Load) -> None:
    x = np.asarray([[[1.0, -2.0, 0.5, 3.0]]], np.float32)[0]
    for rate, wanted in ((16000, -x), (8000, np.abs(x))):
        loaded = load(write(**RATE), constants={"sr": rate}, reference_inputs={"x": x}, want_tflite=True)
        assert [one.name for one in loaded.source.inputs] == ["x"]
        assert np.array_equal(loaded.reference["y"], wanted)
        assert loaded.float_tflite is not None
        described = tflite_file.read(loaded.float_tflite)
        assert [name for name, _ in described.public_inputs] == ["x"]
        assert {op.name for op in described.ops} == {"NEG" if rate == 16000 else "ABS"}
        assert loaded.openvino_input != loaded.source.path


@pytest.mark.parametrize(
    ("constants", "words"),
    [
        ({"rate": 1}, "has no input 'rate'; it has: x, sr"),
        ({"sr": 0.5}, "input 'sr' takes int64, and 0.5 is none"),
        ({"sr": 1, "x": 0}, "with input 'x' fixed to 0 no input is left"),
    ],
    ids=["name", "dtype", "all"],
)
def test_a_value_that_an_input_cannot_have_is_refused(
    write: Write, refused: Callable[..., ConversionError], constants: dict[str, float], words: str
) -> None:
    assert words in str(refused(write(**RATE), UnsupportedError, constants=constants))


def test_an_input_with_a_free_shape_is_not_filled(write: Write, refused: Callable[..., ConversionError]) -> None:
    path = write("y = Add(x, z)", "float[1, 4] x, float[N, 4] z", "float[1, 4] y", {})
    error = refused(path, UnsupportedError, constants={"z": 0})
    assert "input 'z' has free dimensions" in str(error)
    assert error.__notes__ == ["give its shape: --shape z=Nx4"]


def test_inputs_that_are_no_rows_of_a_batch_come_whole_with_every_sample(write: Write, load: Load) -> None:
    path = write(
        "p = ReduceSum<keepdims = 0>(state, a)\n y = Add(x, p)\n next = Mul(state, k)",
        "float[1, 4] x, float[2, 1, 4] state, float k",
        "float[1, 4] y, float[2, 1, 4] next",
        {"a": np.asarray([0])},
    )
    rng = np.random.default_rng(0)
    arrays = {"x": rng.random((5, 4)), "state": rng.random((5, 2, 1, 4)), "k": rng.random(5)}
    arrays = {name: one.astype(np.float32) for name, one in arrays.items()}
    loaded = load(path, reference_inputs=arrays, want_tflite=True)
    assert np.allclose(loaded.reference["y"], arrays["x"] + arrays["state"].sum(1)[:, 0])
    assert np.allclose(loaded.reference["next"], arrays["state"] * arrays["k"][:, None, None, None])
    made = random_calibration(loaded.source.inputs, 0, 3)
    assert {name: one.shape for name, one in made.items()} == {"x": (3, 1, 4), "state": (3, 2, 1, 4), "k": (3,)}
