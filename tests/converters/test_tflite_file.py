"""Reading TFLite: figures by hand, and broken files as errors."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit_converters import tflite_file
from edgekit_converters.errors import ModelFileError
from edgekit_converters.tflite_rewrite import signed

Tiny = Callable[..., bytes]


def test_ops_shapes_parameters_and_macs_are_those_computed_by_hand(tiny_tflite: Tiny) -> None:
    file = tflite_file.parse(tiny_tflite(free_batch=True), "tiny")
    assert [op.name for op in file.ops] == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED"]
    assert [op.macs for op in file.ops] == [4 * 4 * 4 * 3 * 3 * 2, None, 3 * 64]
    assert file.macs == 1152 + 192
    assert file.parameters == 4 * 3 * 3 * 2 + 4 + 3 * 64 + 3
    (name, image), (out, scores) = *file.public_inputs, *file.public_outputs
    assert (name, image.shape, image.dtype) == ("image", (None, 6, 6, 2), "float32")
    assert (out, scores.shape, scores.quantization) == ("scores", (None, 3), None)
    weights = file.ops[0].inputs[1]
    assert weights is not None
    assert (weights.name, weights.data_bytes, weights.is_weight) == ("filters", 72 * 4, True)
    assert not file.quantized
    assert file.signature is None


def test_signing_keeps_the_model_and_adds_names_and_order(tiny_tflite: Tiny) -> None:
    data = signed(tiny_tflite(), [("public in", 0)], [("public/out", 8)])
    file = tflite_file.parse(data, "signed")
    assert file.signature == tflite_file.Signature(
        key="serving_default", subgraph=0, inputs=(("public in", 0),), outputs=(("public/out", 8),)
    )
    assert [name for name, _ in file.public_inputs] == ["public in"]
    assert file.main.tensors[8].name == "public/out"
    assert file.parameters == tflite_file.parse(tiny_tflite(), "tiny").parameters
    assert len({tensor.name for tensor in file.main.tensors}) == len(file.main.tensors)


def test_signing_renames_inner_tensors_that_would_clash_with_a_public_name(tiny_tflite: Tiny) -> None:
    file = tflite_file.parse(signed(tiny_tflite(), [("filters", 0)], [("scores", 8)]), "signed")
    assert file.main.tensors[0].name == "filters"
    assert file.main.tensors[1].name == "filters_1"


def test_signed_constants_are_aligned_to_sixteen_bytes(tiny_tflite: Tiny) -> None:
    from ai_edge_litert import schema_py_generated as schema

    data = signed(tiny_tflite(), [("image", 0)], [("scores", 8)])
    model = schema.Model.GetRootAs(data, 0)
    tables = [model.Buffers(index)._tab for index in range(model.BuffersLength())]
    starts = [table.Vector(table.Offset(4)) for table in tables if table.Offset(4)]
    assert len(starts) == 5
    assert [start % 16 for start in starts] == [0] * 5


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[: len(data) // 2], id="cut in half"),
        pytest.param(lambda data: data[:8], id="identifier only"),
        pytest.param(lambda data: data[:-40], id="last bytes missing"),
        pytest.param(lambda data: b"\xff\xff\xff\x7f" + data[4:], id="root outside the file"),
        pytest.param(lambda data: data[:4] + b"nope" + data[8:], id="no identifier"),
        pytest.param(lambda _: b"", id="empty"),
    ],
)
def test_a_damaged_file_is_one_error(tiny_tflite: Tiny, damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ModelFileError, match="'model'"):
        tflite_file.parse(damage(tiny_tflite()), "model")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="No such file"):
        tflite_file.read(tmp_path / "none.tflite")


def _parses_or_refuses(data: bytes) -> None:
    try:
        file = tflite_file.parse(data, "fuzzed")
    except ModelFileError:
        return
    assert file.macs >= 0
    assert file.parameters >= 0
    assert len(file.public_inputs) == len(file.main.inputs)


@settings(max_examples=300, deadline=None)
@given(flips=st.lists(st.tuples(st.integers(8, 10**6), st.integers(1, 255)), min_size=1, max_size=8))
def test_flipped_bits_are_read_or_refused(tiny_tflite: Tiny, flips: list[tuple[int, int]]) -> None:
    data = bytearray(tiny_tflite())
    for place, mask in flips:
        data[place % len(data)] ^= mask
    _parses_or_refuses(bytes(data))


@settings(max_examples=150, deadline=None)
@given(noise=st.binary(max_size=400), cut=st.integers(8, 10**6))
def test_noise_behind_a_good_start_is_read_or_refused(tiny_tflite: Tiny, noise: bytes, cut: int) -> None:
    data = tiny_tflite()
    _parses_or_refuses(data[: cut % len(data)] + noise)
    _parses_or_refuses(noise[:4].ljust(4, b"\0") + b"TFL3" + noise[4:])


def test_every_truncation_is_read_or_refused(tiny_tflite: Tiny) -> None:
    data = tiny_tflite()
    for size in range(0, len(data), 7):
        _parses_or_refuses(data[:size])


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "macs", "parameters", "quantized"),
    [
        ("cifar10-resnet/pretrainedResnet.tflite", 12_501_632, 77_706, False),
        ("cifar10-resnet/pretrainedResnet_quant.tflite", 12_501_632, 77_706, True),
        ("vww-mobilenet/vww_96_float.tflite", 7_489_664, 210_850, False),
        ("kws-dscnn/kws_ref_model.tflite", 2_656_768, 22_604, True),
    ],
)
def test_real_files(shared_data: Path, name: str, macs: int, parameters: int, quantized: bool) -> None:
    file = tflite_file.read(shared_data / name)
    assert (file.macs, file.parameters, file.quantized) == (macs, parameters, quantized)
