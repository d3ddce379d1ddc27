"""Small nets of many forms in every precision: each is as near to float as its bits are, and says what it is."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters import ConversionRequest, ConversionResult, convert
from edgekit_converters.backends import backend_for
from edgekit_converters.errors import PrecisionError, UnsupportedError
from edgekit_converters.jobs import JobRunner
from edgekit_converters.layers import tflite
from edgekit_converters.layers.openvino import read
from edgekit_converters.precisions import label_of
from edgekit_converters.tflite_file import read as read_tflite
from tests.converters.quantize.quant_nets import NETS, Net

pytestmark = pytest.mark.slow

Runner = Callable[..., dict[str, Any]]
# Signal to noise in dB that is left at least. Measured, less a margin of about 6 dB for other machines' arithmetic.
BITS: Mapping[tuple[str, str], float] = {
    ("tflite", "fp16"): 55, ("tflite", "int8"): 17, ("tflite", "int16x8"): 25, ("tflite", "int8-weights"): 30,
    ("tflite", "int8-dynamic"): 25, ("tflite", "int4-weights"): 8,
    ("openvino", "fp16"): 55, ("openvino", "int8"): 17, ("openvino", "int8-weights"): 30,
    ("openvino", "int4-weights:all"): 8,
}  # fmt: skip
# LiteRT's calibration looks into both branches of an If whichever is run.
LOW = {"branches": 12.0}
FINER = (
    ("tflite", "int16x8", "int8"),
    ("tflite", "int8-weights", "int4-weights"),
    ("openvino", "int8-weights", "int4-weights:all"),
    ("openvino", "fp16", "int8-weights"),
    ("tflite", "fp16", "int8-weights"),
)


def made(net: Net, folder: Path, wanted: tuple[tuple[str, str], ...], **more: Any) -> ConversionResult:
    (folder / "work").mkdir(parents=True)
    request = ConversionRequest(
        model=net.write(folder, "net"),
        wanted=wanted,
        output=folder / "out",
        work=folder / "work",
        calibration=net.samples(96),
        reference_inputs=net.samples(8, seed=1),
    )
    return convert(replace(request, **more), JobRunner(log=folder / "log"))


def fidelity(result: ConversionResult, run: Runner) -> dict[tuple[str, str], float]:
    """Return each artifact's signal to noise in dB, of the output that is worst."""
    found = {}
    for artifact in result.artifacts:
        outputs = run(artifact.path, dict(result.reference_inputs))
        shares = [
            np.sum(wanted.astype(np.float64) ** 2)
            / max(np.sum((outputs[name] - wanted.astype(np.float64)) ** 2), 1e-30)
            for name, wanted in result.reference.items()
        ]
        found[artifact.format, artifact.precision] = float(10 * np.log10(min(shares)))
    return found


@pytest.mark.parametrize("name", [one for one in NETS if one not in {"conv", "dense"}])  # they have tests below
def test_every_precision_is_as_near_to_float_as_its_bits_are(name: str, tmp_path: Path, run_artifact: Runner) -> None:
    result = made(NETS[name], tmp_path, tuple(BITS))
    assert result.failures == ()
    found = fidelity(result, run_artifact)
    for precision, least in BITS.items():
        assert found[precision] >= min(least, LOW.get(name, least)), precision
    for target, fine, coarse in FINER:
        assert found[target, fine] > found[target, coarse] - 1.0, (fine, coarse)
    sizes = {(one.format, one.precision): one.weights_bytes or 0 for one in result.artifacts}
    assert sizes["tflite", "int4-weights"] < sizes["tflite", "int8-weights"] < sizes["tflite", "fp16"]


def _other(option: Any) -> str:
    """Return a value of an option that is not its default."""
    if isinstance(option.default, bool):
        return "on"
    if isinstance(option.default, str):
        return str(next(one for one in option.takes.split(", ") if one != option.default))
    return {128: "32", 1.0: "0.5", 0.95: "0.5", 99.99: "99.9"}[option.default]


@pytest.mark.parametrize("target", ["tflite", "openvino"])
def test_every_option_of_a_precision_makes_a_file_of_its_own_name(
    target: str, tmp_path: Path, run_artifact: Runner
) -> None:
    wanted = tuple(
        (target, f"{name}:{key}={_other(option)}")
        for name, options in backend_for(target).precisions.items()
        for key, option in options.items()
    )
    result = made(NETS["depthwise"], tmp_path, wanted)
    assert result.failures == ()
    assert all(snr > 10 for snr in fidelity(result, run_artifact).values())
    suffix = {"tflite": "tflite", "openvino": "xml"}[target]
    names = [one.path.name for one in result.artifacts]
    assert names == [f"net.{label_of(one.precision)}.{suffix}" for one in result.artifacts]
    assert len(set(names)) == len(wanted)


def test_rows_that_no_block_fits_have_one_scale_and_are_told_of(tmp_path: Path, run_artifact: Runner) -> None:
    """Rows of 64 and 128, blocks of 128."""
    result = made(NETS["dense"], tmp_path, (("tflite", "int4-weights:group=128"), ("tflite", "int4-weights")))
    blocks, rows = result.artifacts
    assert blocks.warnings == ("2 layers have a scale a row: rows of 64 are not made of blocks of 128",)
    assert rows.warnings == ()
    assert min(fidelity(result, run_artifact).values()) > 8
    weights = 64 * 128 + 128 * 64 + 64 * 10
    for one in (blocks, rows):
        assert weights / 2 <= (one.weights_bytes or 0) < 0.75 * weights


def _float_convolutions(path: Path) -> set[str]:
    """Return the names of the convolutions a file computes in float."""
    if path.suffix == ".tflite":
        view = tflite.view(read_tflite(path))
        return {
            node.name for node in view.nodes if "CONV_2D" in node.op and view.values[node.outputs[0]].dtype == "float32"
        }
    nodes = [one for one in read(path).get_ordered_ops() if one.get_type_name() == "Convolution"]
    floats = [one for one in nodes if one.input_value(0).get_node().get_type_name() != "FakeQuantize"]
    return {one.get_friendly_name().removesuffix("/WithoutBiases") for one in floats}


@pytest.mark.parametrize(
    ("target", "precision", "pattern", "floats"),
    [
        ("tflite", "int8", "rc", {"rc"}),
        ("tflite", "int8", "r[ac]", {"ra", "rc"}),
        ("tflite", "int8", "op:conv_2d", {"ra", "rc", "e"}),
        ("openvino", "int8", "c", {"c"}),
        ("openvino", "int8", "[ce]/*", {"e"}),
        ("openvino", "int8:model=transformer", "op:Convolution", {"a", "c", "e"}),
    ],
)
def test_layers_left_in_float_are_in_float_in_the_file(
    target: str, precision: str, pattern: str, floats: set[str], tmp_path: Path
) -> None:
    (artifact,) = made(NETS["residual"], tmp_path, ((target, precision),), float_layers=(pattern,)).artifacts
    assert _float_convolutions(artifact.path) == floats
    assert {one.removesuffix("/WithoutBiases") for one in artifact.float_layers} >= floats


def test_a_layer_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    wanted = (("tflite", "int8"), ("openvino", "int8"))
    with pytest.raises(UnsupportedError, match="no layer is called 'conv9'") as caught:
        made(NETS["residual"], tmp_path, wanted, float_layers=("conv9",))
    assert "layers with weights are called: ra, rc" in caught.value.__notes__[0]


def test_inputs_and_outputs_are_whole_numbers_where_asked_for(tmp_path: Path) -> None:
    wanted = (("tflite", "int8"), ("tflite", "int16x8"), ("tflite", "int8-weights"))
    result = made(NETS["conv"], tmp_path, wanted, quantized_io=True)
    for artifact, dtype in zip(result.artifacts, ("int8", "int16", "float32"), strict=True):
        file = read_tflite(artifact.path)
        rim = [one for _, one in (*file.public_inputs, *file.public_outputs)]
        assert {one.dtype for one in rim} == {dtype}
        assert all((one.quantization is not None) == (dtype != "float32") for one in rim)
        assert [name for name, _ in file.public_inputs] == ["image"]
        assert [name for name, _ in file.public_outputs] == ["scores"]


def test_openvino_alone_has_no_whole_numbers_at_the_rim(tmp_path: Path) -> None:
    with pytest.raises(PrecisionError, match="openvino keeps inputs and outputs in the source's dtypes"):
        made(NETS["conv"], tmp_path, (("openvino", "int8"),), quantized_io=True)
