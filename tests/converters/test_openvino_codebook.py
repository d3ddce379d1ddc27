"""Shared weights as codes in an OpenVINO IR: the same answers, an eighth of the bytes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.conversion import ConversionRequest, convert
from edgekit_converters.jobs import JobRunner
from edgekit_converters.model import Artifact
from tests.converters import onnx_text

pytest.importorskip("openvino")

NET = """(float[N, 8, 6, 6] x) => (float[N, 10] y) {
    a = Conv<pads = [1, 1, 1, 1]>(x, w1, b1)
    r = Relu(a)
    g = GlobalAveragePool(r)
    f = Flatten(g)
    y = MatMul(f, w2)
}"""
SHAPES = {"w1": (64, 8, 3, 3), "b1": (64,), "w2": (64, 10)}


def _converted(folder: Path, values: int) -> dict[str, Artifact]:
    rng = np.random.default_rng(0)
    book = rng.normal(size=values).astype(np.float32)
    weights = {name: rng.choice(book, shape) if len(shape) > 1 else book[: shape[0]] for name, shape in SHAPES.items()}
    weights["b1"] = rng.normal(size=64).astype(np.float32)
    (folder / "work").mkdir()
    request = ConversionRequest(
        model=onnx_text.write(folder / "net.onnx", NET, weights),
        wanted=tuple(("openvino", one) for one in ("fp32", "fp32:codebook", "fp16", "fp16:codebook")),
        output=folder / "out",
        work=folder / "work",
    )
    result = convert(request, JobRunner(log=folder / "log"))
    assert result.failures == ()
    return {one.precision: one for one in result.artifacts}


@pytest.mark.slow
@pytest.mark.parametrize(("values", "bits"), [(16, 4), (200, 8)])
def test_codes_take_the_place_of_floats_and_nothing_is_rounded(
    values: int, bits: int, tmp_path: Path, run_artifact: Any
) -> None:
    made = _converted(tmp_path, values)
    x = {"x": np.random.default_rng(1).normal(size=(3, 8, 6, 6)).astype(np.float32)}
    for kind in ("fp32", "fp16"):
        dense, coded = made[kind], made[f"{kind}:codebook"]
        (wanted,), (got,) = (list(run_artifact(one.path, x).values()) for one in (dense, coded))
        assert np.allclose(got, wanted, atol=1e-6)
        weights = 64 * 8 * 9
        assert coded.path.with_suffix(".bin").stat().st_size < weights * bits / 8 + 640 * 4 + 2 * values * 4 + 1000
        assert coded.path.with_suffix(".bin").stat().st_size < dense.path.with_suffix(".bin").stat().st_size
        assert coded.warnings == ()


@pytest.mark.slow
def test_other_weights_stay_and_it_is_said(tmp_path: Path) -> None:
    made = _converted(tmp_path, 5000)
    assert "no layer's weights have 256 values or fewer" in made["fp16:codebook"].warnings
    sizes = [made[one].path.with_suffix(".bin").stat().st_size for one in ("fp16", "fp16:codebook")]
    assert sizes[0] == sizes[1]
