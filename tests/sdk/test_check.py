"""`edgekit check`: what it predicts is what happens, and what it says of bad questions."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit import check
from edgekit._check import CheckResult
from edgekit._targets import EVIDENCE, target, targets
from edgekit.errors import EdgeKitError, EnvironmentMissingError, GateError, UsageError
from edgekit_converters.compat.findings import Kind, Status
from edgekit_converters.compat.probes.one_op import Case, Value, build, constant, plain, weights
from edgekit_converters.errors import ModelFileError, UnsupportedError

CLI = (sys.executable, "-m", "edgekit.cli.main")
OLD, NEW = "tflite-runtime==2.14.0", "ai-edge-litert"


@pytest.fixture
def models(repository: Path) -> Path:
    return repository / "tests/data/models"


@pytest.fixture
def device() -> Path:
    python = os.environ.get("EDGEKIT_DEVICE_PYTHON")
    if not python:
        pytest.skip("needs the device's environment: set EDGEKIT_DEVICE_PYTHON (make setup)")
    return Path(python)


def _dense_per_channel(folder: Path) -> Path:
    """Write a dense layer with int8 weights and a scale a channel: 2.14 runs it and gives wrong numbers."""
    kernel = weights("qint8", (4, 8), channels=4)
    inputs = (Value(type="float32", shape=(1, 8)), kernel, constant([1, 2, 3, 4], "float32"))
    outputs = (Value(type="float32", shape=(1, 4)),)
    case = Case(op="FULLY_CONNECTED", inputs=inputs, outputs=outputs, options=plain("FullyConnectedOptions"))
    return _written(folder / "dense_per_channel.tflite", case)


def _written(path: Path, case: Case) -> Path:
    path.write_bytes(build(case))
    return path


def _varied() -> dict[str, Case]:
    """Return ops of several families that one runtime takes and the other does not, or that end the process."""
    one, half = Value(type="float32"), Value(type="float16")
    deep = Value(type="float32", shape=(2, 2, 2, 2, 3, 4))
    row = Value(type="float32", shape=(4,))
    order = constant([6, 5, 4, 3, 2, 1, 0])
    long, back = (Value(type="float32", shape=shape) for shape in ((1, 1, 1, 2, 2, 2, 3), (3, 2, 2, 2, 1, 1, 1)))
    packed = weights("qint4", (4, 8))
    return {
        "relu": Case(op="RELU", inputs=(one,), outputs=(one,)),
        "abs-half": Case(op="ABS", inputs=(half,), outputs=(half,), options=plain("AbsOptions")),
        "power-of-rank-6": Case(op="POW", inputs=(deep, row), outputs=(deep,), options=plain("PowOptions")),
        "transpose-of-rank-7": Case(
            op="TRANSPOSE", inputs=(long, order), outputs=(back,), options=plain("TransposeOptions")
        ),
        "int4": Case(
            op="DEQUANTIZE",
            inputs=(packed,),
            outputs=(Value(type="float32", shape=(4, 8)),),
            options=plain("DequantizeOptions"),
        ),
        "stablehlo": Case(op="STABLEHLO_TANH", inputs=(one,), outputs=(one,)),
        "custom": Case(op="CUSTOM", inputs=(one,), outputs=(one,), custom_code="MyOp"),
        "flex": Case(op="CUSTOM", inputs=(one,), outputs=(one,), custom_code="FlexErf"),
    }


def _hold(found: CheckResult) -> None:
    """Ask that what was predicted is what came of loading and running."""
    for one in found.runtimes:
        assert Kind.LOADED in one.kinds, f"{one.name} is not here"
        predicted = one.predicted in {Status.RUNS, Status.DIFFERS}
        assert predicted == (one.loaded is Status.RUNS), f"{found.model.name} on {one.name}: {one.findings}"
        assert one.predicted is not Status.UNKNOWN, f"{found.model.name} on {one.name}: {one.findings}"


@pytest.mark.parametrize("name", ["conv", "conv_int8", "dense", "length", "pairs", "two"])
def test_the_prediction_is_what_happens_on_small_models(models: Path, device: Path, name: str) -> None:
    _hold(check(models / f"{name}.tflite", [OLD, NEW], pythons=[device]))


@pytest.mark.parametrize("name", _varied())
def test_the_prediction_is_what_happens_on_varied_ops(tmp_path: Path, device: Path, name: str) -> None:
    _hold(check(_written(tmp_path / f"{name}.tflite", _varied()[name]), [OLD, NEW], pythons=[device]))


@pytest.mark.shared_data
@pytest.mark.usefixtures("device")
def test_the_prediction_is_what_happens_on_real_models(shared_data: Path) -> None:
    for model in sorted(shared_data.glob("*/*.tflite")):
        _hold(check(model, [OLD, NEW]))


@pytest.mark.usefixtures("device")
def test_wrong_numbers_stand_against_a_model_that_loads(tmp_path: Path) -> None:
    found = check(_dense_per_channel(tmp_path), [OLD, NEW])
    old, new = found.runtimes
    assert (old.verdict, old.loaded) == (Status.DIFFERS, Status.RUNS)
    assert (new.verdict, new.loaded) == (Status.RUNS, Status.RUNS)
    with pytest.raises(GateError, match=r"tflite-runtime 2\.14\.0 \(differs\)"):
        found.check()


def test_a_crash_is_a_finding(tmp_path: Path, device: Path) -> None:
    model = _written(tmp_path / "power.tflite", _varied()["power-of-rank-6"])
    (found,) = check(model, [OLD], pythons=[device]).runtimes
    assert found.verdict is Status.CRASHES
    assert {one.kind for one in found.findings} == {Kind.PROBED, Kind.LOADED}


def test_made_up_numbers_that_do_not_fit_decide_nothing(tmp_path: Path) -> None:
    """A shape that comes as an input cannot be guessed."""
    inputs, outputs = (Value(type="float32"), Value(type="int32", shape=(2,))), (Value(type="float32", shape=(16, 4)),)
    case = Case(op="RESHAPE", inputs=inputs, outputs=outputs, options=plain("ReshapeOptions"))
    (found,) = check(_written(tmp_path / "reshape.tflite", case), [NEW]).runtimes
    assert (found.predicted, found.loaded, found.verdict) == (Status.RUNS, Status.UNKNOWN, Status.UNKNOWN)
    assert "made-up" in found.findings[0].reason
    assert "--data" in found.findings[0].advice


def test_a_range_asks_every_probed_version(models: Path) -> None:
    found = check(models / "conv.tflite", ["ai-edge-litert>=1.2,<2.1"])
    assert [one.version for one in found.runtimes] == ["1.2.0", "1.4.0", "2.0.3"]
    assert all(one.verdict is Status.RUNS for one in found.runtimes)


def test_onnx_is_loaded_here(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save_model

    def written(op: str) -> Path:
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in "xy"]
        graph = helper.make_graph([helper.make_node(op, ["x"], ["y"])], "g", [ends[0]], [ends[1]])
        path = tmp_path / f"{op}.onnx"
        save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return path

    good = check(written("Relu"), ["onnxruntime", "openvino", "openvino-npu"])
    assert [one.verdict for one in good.runtimes] == [Status.RUNS, Status.RUNS, Status.FAILS]
    assert "not fixed" in good.runtimes[2].findings[0].reason
    (bad,) = check(written("NoSuchOp"), ["onnxruntime"]).runtimes
    assert bad.verdict is Status.FAILS
    assert "NoSuchOp" in bad.findings[0].reason


def test_what_nothing_can_tell_is_not_called_good(models: Path) -> None:
    found = check(models / "conv.tflite", ["openvino==2020.1"])
    assert [one.verdict for one in found.runtimes] == [Status.UNKNOWN]
    with pytest.raises(GateError):
        found.check()


def test_questions_that_make_no_sense_are_refused(models: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--runtime or --target"):
        check(models / "conv.tflite")
    with pytest.raises(UsageError, match=r"no runtime 'tensorrt'; there are: tflite-runtime"):
        check(models / "conv.tflite", ["tensorrt"])
    with pytest.raises(UsageError, match="no target 'nano'"):
        check(models / "conv.tflite", targets=["nano"])
    with pytest.raises(UnsupportedError, match=r"onnxruntime takes \.onnx files"):
        check(models / "conv.tflite", ["onnxruntime"])
    with pytest.raises(ModelFileError, match="does not exist"):
        check(tmp_path / "none.tflite", [OLD])
    with pytest.raises(EnvironmentMissingError, match="not a Python"):
        check(models / "conv.tflite", [OLD], pythons=[tmp_path / "python"])


def test_every_target_names_runtimes_that_can_be_asked() -> None:
    known = targets()
    assert len(known) >= 8
    assert {one.evidence for one in known.values()} <= set(EVIDENCE)
    assert all(one.runtimes and one.name for one in known.values())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("schema = ", "not TOML"),
        ('schema = 1\nname = "x"\nevidence = "general"\n', "'runtimes' is missing"),
        ('schema = 1\nname = "x"\nevidence = "general"\nruntimes = ["cuda"]\n', "no runtime 'cuda'"),
        ('schema = 1\nname = 2\nevidence = "general"\nruntimes = ["openvino"]\n', "'name' is of the wrong type"),
        ('schema = 1\nname = "x"\nevidence = "rumour"\nruntimes = ["openvino"]\n', "evidence of"),
        ('schema = 1\nname = "x"\nevidence = "general"\nruntimes = ["openvino"]\ncode = "x"\n', "'code' is unknown"),
    ],
)
def test_a_broken_target_file_says_what_is_wrong(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "board.toml"
    path.write_text(content)
    with pytest.raises(EdgeKitError, match=said):
        target(str(path))


def _cli(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*CLI, *arguments], capture_output=True, text=True, check=False)


def test_the_verdict_comes_first_and_what_to_do_last(tmp_path: Path) -> None:
    answer = _cli("check", str(_dense_per_channel(tmp_path)), "--runtime", OLD, "--runtime", NEW)
    assert answer.returncode == 6
    lines = answer.stdout.splitlines()
    assert lines[1].split()[:3] == ["tflite-runtime", "2.14.0", "differs"]
    assert lines[2].split()[0] == "ai-edge-litert"
    assert "FULLY_CONNECTED (float32 qint8 float32 > float32 | per channel), node 0 'output0'" in answer.stdout
    assert lines[-1].strip().startswith("what to do: quantize the activations too")


def test_json_is_one_document(models: Path) -> None:
    answer = _cli("check", str(models / "conv.tflite"), "--target", "coral", "--json")
    assert answer.returncode == 6
    document = json.loads(answer.stdout)
    (row,) = document["runtimes"]
    assert (document["schema"], document["operators"], row["verdict"]) == (1, 3, "fails")
    assert row["findings"][0]["op"] == "CONV_2D"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--runtime", NEW), 0, ""),
        (("--runtime", "tensorrt"), 2, "there are: tflite-runtime"),
        (("--target", "nano"), 2, "raspberry-pi-4"),
        ((), 2, "--runtime or --target"),
        (("--runtime", "onnxruntime"), 3, "takes .onnx files"),
    ],
)
def test_exit_codes(models: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    answer = _cli("check", str(models / "conv.tflite"), *arguments)
    assert (answer.returncode, said in answer.stderr) == (code, True), answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_broken_model_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(b"\0\0\0\0TFL3" + b"\xff" * 100)
    answer = _cli("check", str(tmp_path / "x.tflite"), "--runtime", OLD)
    assert answer.returncode == 3
    assert "x.tflite" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_targets_are_listed_and_shown() -> None:
    assert {one["id"] for one in json.loads(_cli("targets", "list", "--json").stdout)["targets"]} == set(targets())
    assert "tflite-runtime==2.14.0" in _cli("targets", "show", "raspberry-pi-4").stdout
    assert _cli("targets", "show", "nano").returncode == 2
