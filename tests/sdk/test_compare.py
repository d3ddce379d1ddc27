"""`edgekit compare` on models one can have: figures, gates, exit codes."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgekit import compare
from edgekit.errors import GateError

CLI = (sys.executable, "-m", "edgekit.cli.main", "compare")


@pytest.fixture
def pair(repository: Path, tmp_path: Path, rng: np.random.Generator) -> tuple[Path, Path, str]:
    """A small float net, its int8 form and samples."""
    models, data = repository / "tests/data/models", tmp_path / "data.npz"
    np.savez(data, x=rng.random((8, 8, 8, 3)).astype(np.float32))
    return models / "conv.tflite", models / "conv_int8.tflite", str(data)


def test_a_model_equals_itself_in_every_layer(pair: tuple[Path, Path, str]) -> None:
    found = compare(pair[0], pair[0], pair[2], layers=True)
    assert found.agreement.max_abs == 0
    assert found.layers is not None
    assert [one.error for one in found.layers] == [0.0] * 4
    found.check(max_error=0, min_snr=100)


def test_layers_come_with_the_most_damage_first(pair: tuple[Path, Path, str]) -> None:
    found = compare(*pair, layers=True)
    assert found.layers is not None
    damage = [one.damage or 0.0 for one in found.layers]
    assert damage == sorted(damage, reverse=True)
    assert {one.order for one in found.layers} == set(range(len(found.layers)))
    json.dumps(found.to_json(), allow_nan=False)


def test_limits_are_gates(pair: tuple[Path, Path, str]) -> None:
    found = compare(*pair)
    assert found.layers is None
    with pytest.raises(GateError, match="differ by"):
        found.check(max_error=found.agreement.max_abs / 2)
    with pytest.raises(GateError, match="signal-to-noise"):
        found.check(min_snr=found.agreement.snr_db + 1)


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({}, 0, ""),
        ({"limit": ("--min-snr", "200")}, 6, "signal-to-noise"),
        ({"artifact": "two.tflite"}, 3, "inputs differ"),
        ({"artifact": "none.tflite"}, 3, "none.tflite"),
        ({"data": "none.npz"}, 3, "does not exist"),
    ],
    ids=["fine", "gate", "other inputs", "no model", "no data"],
)
def test_exit_codes(pair: tuple[Path, Path, str], change: dict[str, str], code: int, said: str) -> None:
    source, artifact, data = pair
    artifact = source.with_name(change.get("artifact", artifact.name))
    command = [*CLI, str(source), str(artifact), "--data", change.get("data", data), "--json", *change.get("limit", ())]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert answer.returncode == code, answer.stderr
    assert said in answer.stderr
    if code in {0, 6}:
        assert json.loads(answer.stdout)["schema"] == 1


@pytest.mark.shared_data
@pytest.mark.slow
def test_one_layer_in_four_bits_comes_out_on_top(
    shared_data: Path, tmp_path: Path, damaged: Callable[[bytes, str, int], bytes]
) -> None:
    folder = shared_data / "cifar10-resnet"
    with zipfile.ZipFile(folder / "cifar10_jpeg_test.zip") as archive:
        for name in archive.namelist()[:64]:
            archive.extract(name, tmp_path / "images")
    source = folder / "pretrainedResnet.tflite"
    hurt = tmp_path / "hurt.tflite"
    hurt.write_bytes(damaged(source.read_bytes(), "model/conv2d_4/Conv2D", 4))
    found = compare(source, hurt, str(tmp_path / "images"), layers=True)
    assert found.layers is not None
    assert found.layers[0].layer == "conv2d_4"
    assert all((one.own_error or 0) < 1e-5 for one in found.layers[1:])
    quantized = compare(source, folder / "pretrainedResnet_quant.tflite", str(tmp_path / "images"), layers=True)
    assert quantized.layers is not None
    assert {"conv2d", "conv2d_8", "activation_6", "dense", "average_pooling2d"} <= {
        one.layer for one in quantized.layers
    }
    assert quantized.unmatched == ()
