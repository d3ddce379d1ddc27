"""`edgekit bundle`: made of real artifacts, byte for byte the same again, shown, verified, and refused with a code."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgekit
from edgekit.cli import main
from edgekit.errors import DataError, UsageError
from edgekit_agent import bundle as bundles
from edgekit_agent import runtimes
from edgekit_agent.bundle import archive
from edgekit_agent.errors import BundleError, InputDataError, ModelError

MODELS = Path(__file__).parents[2] / "data" / "models"


def _run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["edgekit", "bundle", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main.main()
    return int(end.value.code or 0)


def _options(**given: Any) -> edgekit.BundleOptions:
    return edgekit.BundleOptions(**{"version": "1.2.0", **given})


@pytest.mark.parametrize("name", ["conv_int8.tflite", "two.tflite", "dense.onnx", "quantized.onnx"])
def test_a_bundle_of_an_artifact_repeats_its_golden_vectors(tmp_path: Path, name: str) -> None:
    made = edgekit.bundle(MODELS / name, _options(), tmp_path / "a.ekb")
    found = edgekit.verify_bundle(tmp_path / "a.ekb", run=True)
    assert found.proof is not None
    assert (found.proof.passed, found.proof.runs) == (True, 8)
    assert found.bundle == made == edgekit.show_bundle(tmp_path / "a.ekb")
    manifest = made.manifest
    assert (manifest.model, manifest.counter) == (name.partition(".")[0], 1_002_000)
    artifact = next(one for one in made.placed if one.file.role == "artifact")
    data = (tmp_path / "a.ekb").read_bytes()
    assert data[artifact.offset : artifact.offset + artifact.file.size] == (MODELS / name).read_bytes()


def test_packing_again_elsewhere_gives_the_same_bytes(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "conv.tflite"
    elsewhere.parent.mkdir(mode=0o700)
    elsewhere.write_bytes((MODELS / "conv.tflite").read_bytes())
    elsewhere.chmod(0o600)
    made = [
        edgekit.bundle(artifact, _options(hardware=("imx8mp",)), tmp_path / f"{at}.ekb").path.read_bytes()
        for at, artifact in enumerate([MODELS / "conv.tflite", MODELS / "conv.tflite", elsewhere])
    ]
    assert made[0] == made[1] == made[2]


def test_golden_inputs_are_taken_of_data_and_kept_as_the_model_stores_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    images = rng.random((20, 8, 8, 3), dtype=np.float32)
    np.savez(tmp_path / "test.npz", x=images, y=np.arange(20))
    artifact = MODELS / "conv_int8.tflite"
    made = edgekit.bundle(artifact, _options(golden=f"{tmp_path / 'test.npz'}[4:7]"), tmp_path / "a.ekb")
    (given,) = made.manifest.golden.inputs
    assert (given.shape, given.dtype) == ((3, 1, 8, 8, 3), "int8")
    (spec,) = made.manifest.inputs
    place = next(one for one in made.placed if one.file.name == given.file)
    stored = np.frombuffer((tmp_path / "a.ekb").read_bytes(), np.int8, place.file.size, place.offset)
    wanted = np.clip(np.rint(images[4:7] / spec.scale[0]) + spec.zero_point[0], -128, 127)
    assert np.array_equal(stored.reshape(3, 8, 8, 3), wanted)
    np.savez(tmp_path / "many.npz", x=np.repeat(images, 4, axis=0))
    with pytest.raises(DataError, match="more than 64 samples") as caught:
        edgekit.bundle(artifact, _options(golden=str(tmp_path / "many.npz")), tmp_path / "b.ekb")
    assert caught.value.__notes__ == [f"take a part of it: {tmp_path / 'many.npz'}[0:8]"]


def test_a_baseline_says_what_inputs_and_answers_were_like(tmp_path: Path) -> None:
    images = np.random.default_rng(3).normal((5, 0, 1), 2, (50, 8, 8, 3)).astype(np.float32)
    np.save(tmp_path / "train.npy", images)
    made = edgekit.bundle(MODELS / "conv.tflite", _options(baseline=str(tmp_path / "train.npy")), tmp_path / "a.ekb")
    baseline = made.manifest.baseline
    assert baseline is not None
    (found,) = baseline.inputs.values()
    assert (found.mean, found.std) == pytest.approx((images.mean(), images.std()), rel=1e-3)
    assert found.channel_mean == pytest.approx(images.mean(axis=(0, 1, 2)), rel=1e-3)
    assert found.samples == 50
    session = runtimes.get("ai-edge-litert").load(MODELS / "conv.tflite")
    answers = [int(session.invoke([image[None]])[0].argmax()) for image in images]
    assert baseline.classes == {str(number): answers.count(number) for number in sorted(set(answers))}


def test_a_baseline_of_what_is_no_number_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "train.npy", np.full((5, 8, 8, 3), np.nan, np.float32))
    with pytest.raises(InputDataError, match=r"the baseline of input '.*' holds values that are not numbers"):
        edgekit.bundle(MODELS / "conv.tflite", _options(baseline=str(tmp_path / "train.npy")), tmp_path / "a.ekb")


def test_a_pipeline_goes_with_its_stages(tmp_path: Path) -> None:
    (tmp_path / "net.0.onnx").write_bytes((MODELS / "dense.onnx").read_bytes())
    session = runtimes.get("onnxruntime").load(MODELS / "dense.onnx")
    (taken,), (given,) = session.inputs, session.outputs
    described = {"name": taken.name, "shape": list(taken.shape), "dtype": taken.dtype}
    stage = {"file": "net.0.onnx", "takes": [taken.name], "gives": [given.name]}
    pipeline = {"schema": 1, "inputs": [described], "outputs": [given.name], "stages": [stage]}
    (tmp_path / "net.pipeline").write_text(json.dumps(pipeline))
    made = edgekit.bundle(tmp_path / "net.pipeline", _options(), tmp_path / "a.ekb").manifest
    assert made.artifact == "model.pipeline"
    assert sorted(one.name for one in made.files if one.role == "artifact") == ["model.pipeline", "net.0.onnx"]
    found = edgekit.verify_bundle(tmp_path / "a.ekb", run=True)
    assert found.proof is not None
    assert found.proof.passed


def test_a_bundle_for_a_device_that_is_not_here_is_made_and_proved_on_the_processor(tmp_path: Path) -> None:
    options = _options(runtimes=("openvino>=2026",), device="NPU")
    made = edgekit.bundle(MODELS / "conv.tflite", options, tmp_path / "a.ekb")
    assert made.manifest.runtimes[0].device == "NPU"
    found = edgekit.verify_bundle(tmp_path / "a.ekb", run=True, device="CPU")
    assert found.proof is not None
    assert found.proof.passed
    with pytest.raises(ModelError, match="NPU"):
        edgekit.verify_bundle(tmp_path / "a.ekb", run=True)


def test_what_the_report_beside_says_goes_along_without_the_maker_s_paths(tmp_path: Path) -> None:
    from edgekit._report import sha256

    models = tmp_path / "build" / "models"
    models.mkdir(parents=True)
    (models / "kws.int8.tflite").write_bytes((MODELS / "conv_int8.tflite").read_bytes())
    artifact = {"path": "models/kws.int8.tflite", "precision": "int8", "sha256": sha256(models / "kws.int8.tflite")}
    report = {
        "schema": 1,
        "source": {"path": "/home/somebody/kws.h5"},
        "data": {"metric": "top1", "calib": "/home/somebody/calib.npz[0:10]", "classes": ["cat", "dog"]},
        "preprocess": {"scale": 2},
        "artifacts": [{**artifact, "sha256": "0"}, artifact],
    }
    (tmp_path / "build" / "report.json").write_text(json.dumps(report))
    made = edgekit.bundle(models / "kws.int8.tflite", _options(), tmp_path / "a.ekb")
    manifest = made.manifest
    assert (manifest.model, manifest.precision, dict(manifest.preprocess)) == ("kws", "int8", {"scale": 2})
    bundles.unpack(tmp_path / "a.ekb", tmp_path / "there")
    assert (tmp_path / "there" / "labels.txt").read_text() == "cat\ndog\n"
    told = json.loads((tmp_path / "there" / "report.json").read_text())
    assert told["artifacts"] == [artifact]
    assert "somebody" not in (tmp_path / "there" / "report.json").read_text()
    (tmp_path / "names.txt").write_text("yes\nno\nmaybe\n")
    given = _options(labels=tmp_path / "names.txt", precision="fp32", preprocess={"scale": 3})
    other = edgekit.bundle(models / "kws.int8.tflite", given, tmp_path / "b.ekb").manifest
    assert (other.precision, dict(other.preprocess)) == ("fp32", {"scale": 3})
    assert next(one.size for one in other.files if one.role == "labels") == len("yes\nno\nmaybe\n")


@pytest.mark.parametrize(("precision", "share"), [("fp32", 1e-3), ("fp16", 1e-2), ("int8", 5e-2), (None, 5e-2)])
def test_the_tolerance_is_a_share_of_the_largest_golden_output(
    tmp_path: Path, precision: str | None, share: float
) -> None:
    made = edgekit.bundle(MODELS / "conv.tflite", _options(precision=precision), tmp_path / "a.ekb")
    bundles.unpack(tmp_path / "a.ekb", tmp_path / "there")
    scores = np.frombuffer((tmp_path / "there" / "golden-output-0.raw").read_bytes(), np.float32)
    assert made.manifest.golden.tolerance["scores"] == pytest.approx(share * np.abs(scores).max(), rel=1e-3)


def test_create_show_and_verify_print_what_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "kws.ekb"
    words = ["create", MODELS / "conv.tflite", "--version", "2.0.1-rc1", "--counter", "9", "--name", "kws", "-o", file]
    options = [
        "--hardware",
        "imx8mp",
        "--runtime",
        "ai-edge-litert>=2,<3",
        "--max-p50-ms",
        "5",
        "--max-memory-mb",
        "64",
    ]
    assert _run(monkeypatch, *words, *options, "--threads", "2", "--json") == 0
    made = json.loads(capsys.readouterr().out)
    manifest = made["manifest"]
    assert manifest["runtimes"] == [{"name": "ai-edge-litert", "versions": ">=2,<3", "device": "CPU"}]
    assert (manifest["bounds"], manifest["threads"]) == ({"p50_ms": 5, "memory_bytes": 64 << 20}, 2)
    assert _run(monkeypatch, "show", file) == 0
    shown = capsys.readouterr().out
    assert "kws 2.0.1-rc1, release 9" in shown
    assert "imx8mp" in shown
    assert "model.tflite" in shown
    assert _run(monkeypatch, "verify", file, "--run", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["manifest"] == manifest
    assert (told["proof"]["passed"], told["proof"]["runs"]) == (True, 8)


def _mistold(file: Path, folder: Path) -> None:
    """Give a bundle golden outputs that its model does not give, and everything else that fits them."""
    import hashlib
    from dataclasses import replace

    found = bundles.unpack(file, folder)
    name = found.manifest.golden.outputs[0].file
    data = (np.frombuffer((folder / name).read_bytes(), np.float32) + 1).astype(np.float32).tobytes()
    (folder / name).unlink()
    (folder / name).write_bytes(data)
    files = tuple(
        replace(one, sha256=hashlib.sha256(data).hexdigest()) if one.name == name else one
        for one in found.manifest.files
    )
    told = replace(found.manifest, files=files)
    file.write_bytes(b"".join(archive.write(told, {one.name: folder / one.name for one in files})))


def test_outputs_that_are_not_the_golden_ones_end_with_6_and_a_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.ekb"
    edgekit.bundle(MODELS / "conv.tflite", _options(precision="fp32"), file)
    _mistold(file, tmp_path / "there")
    assert _run(monkeypatch, "verify", file) == 0
    assert _run(monkeypatch, "verify", file, "--run") == 6
    assert "output 'scores' differs by 1 from its golden values in run" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["damaged", "truncated", "missing", "foreign"])
def test_bundles_that_are_not_sound_end_with_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    file = tmp_path / "a.ekb"
    if what == "foreign":
        file.write_bytes((MODELS / "conv.tflite").read_bytes())
    elif what != "missing":
        data = bytearray(edgekit.bundle(MODELS / "conv.tflite", _options(), file).path.read_bytes())
        data[5000] ^= 1
        file.write_bytes(data if what == "damaged" else data[:-9])
    assert _run(monkeypatch, "verify", file, *(["--run"] if what == "damaged" else [])) == 3
    assert f"error: bundle '{file}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--version", "1.2"],
        ["--version", "1.1000.0"],
        ["--version", "1.0.0", "--counter", "-1"],
        ["--version", "1.0.0", "--hardware", "Raspberry Pi"],
        ["--version", "1.0.0", "--name", "a/b"],
        ["--version", "1.0.0", "--runtime", "ai-edge-litert~=2"],
        ["--version", "1.0.0", "--tolerance", "-1"],
        ["--version", "1.0.0", "--threads", "0"],
        [],
    ],
    ids=" ".join,
)
def test_wrong_options_end_with_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    assert _run(monkeypatch, "create", MODELS / "conv.tflite", "-o", tmp_path / "a.ekb", *words) == 2
    assert list(tmp_path.iterdir()) == []


def test_artifacts_that_are_none_or_not_whole_are_refused(tmp_path: Path) -> None:
    (tmp_path / "net.xml").write_text("<net/>")
    (tmp_path / "net.txt").write_text("net")
    for name, kind, why in (
        ("net.xml", DataError, "net.bin' does not exist"),
        ("gone.tflite", DataError, "does not exist"),
        ("net.txt", ModelError, "of no format a runtime reads"),
    ):
        with pytest.raises(kind, match=why):
            edgekit.bundle(tmp_path / name, _options())
    with pytest.raises(UsageError, match="not of the form"):
        _options(version="v1")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["net.txt", "net.xml"]


def test_a_model_that_does_not_repeat_itself_gets_no_bundle(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    rng = helper.make_node("RandomNormalLike", ["x"], ["noise"])
    add = helper.make_node("Add", ["x", "noise"], ["y"])
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
    graph = helper.make_graph([rng, add], "g", [ports[0]], [ports[1]])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), tmp_path / "n.onnx")
    with pytest.raises(BundleError, match="does not repeat its own golden vectors: output 'y' differs by"):
        edgekit.bundle(tmp_path / "n.onnx", _options(), tmp_path / "n.ekb")
    assert not (tmp_path / "n.ekb").exists()


@pytest.mark.parametrize(
    ("name", "text"), [("p.toml", 'kind = "classes"\ntop = 2\n'), ("p.json", '{"kind": "classes", "top": 2}')]
)
def test_postprocessing_goes_into_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    out = tmp_path / "a.ekb"
    words = ("create", MODELS / "dense.onnx", "--version", "1.0.0", "--postprocess", tmp_path / name, "-o", out)
    assert _run(monkeypatch, *words) == 0
    assert dict(edgekit.show_bundle(out).manifest.postprocess) == {"kind": "classes", "top": 2}
    capsys.readouterr()


@pytest.mark.parametrize(
    ("name", "text", "code", "sentence"),
    [
        ("p.json", "{", 3, "is not JSON"),
        ("p.json", "[1]", 3, "holds no JSON object"),
        ("p.toml", "kind", 3, "is not TOML"),
        ("gone.json", None, 3, "cannot be read"),
        ("p.toml", 'kind = "masks"', 2, "'kind' is not one of"),
        ("p.toml", 'kind = "classes"\noutput = "logits"', 3, "names output 'logits'"),
    ],
)
def test_postprocessing_that_is_wrong_makes_no_bundle(  # noqa: PLR0913, PLR0917  # each its own word
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    name: str, text: str | None, code: int, sentence: str,
) -> None:  # fmt: skip
    if text is not None:
        (tmp_path / name).write_text(text)
    out = tmp_path / "a.ekb"
    words = ("create", MODELS / "dense.onnx", "--version", "1.0.0", "--postprocess", tmp_path / name, "-o", out)
    assert _run(monkeypatch, *words) == code
    assert sentence in capsys.readouterr().err
    assert not out.exists()
