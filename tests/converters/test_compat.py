"""The table of probes, what is read from a model to ask it, and the rules."""

import json
from dataclasses import replace
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import pytest

from edgekit_converters.compat import runtimes, table, tflite_check
from edgekit_converters.compat.findings import Finding, Kind, Status
from edgekit_converters.compat.nodes import Node, read_nodes
from edgekit_converters.compat.probes import all_cases, is_bare, judge
from edgekit_converters.compat.probes.one_op import Case, Value, build, constant, plain, weights
from edgekit_converters.compat.probes.run import Environment, Probe, answers, write_cases
from edgekit_converters.compat.rules import TFLITE_RULES, openvino_devices
from edgekit_converters.errors import ModelFileError

OLD, NEW = ("tflite-runtime", "2.14.0"), ("ai-edge-litert", "2.3.0")
ONE_IN = 97


def _column(runtime: tuple[str, str]) -> int:
    name, version = runtime
    return table.load().columns(name)[version]


def _node(case: Case) -> Node:
    return read_nodes(build(case), "a probe")[0]


def _ask(case: Case, runtime: tuple[str, str]) -> table.Verdict:
    return table.load().ask(_node(case), _column(runtime))


def _transpose(rank: int) -> Case:
    shape = (*(2,) * (rank - 1), 3)
    one, back = Value(type="float32", shape=shape), Value(type="float32", shape=shape[::-1])
    order = constant(list(range(rank))[::-1])
    return Case(op="TRANSPOSE", inputs=(one, order), outputs=(back,), options=plain("TransposeOptions"))


def _dense(channels: int) -> Case:
    kernel = weights("qint8", (4, 8), channels=channels)
    inputs = (Value(type="float32", shape=(1, 8)), kernel, constant([1, 2, 3, 4], "float32"))
    outputs = (Value(type="float32", shape=(1, 4)),)
    return Case(op="FULLY_CONNECTED", inputs=inputs, outputs=outputs, options=plain("FullyConnectedOptions"))


def _int4_weights() -> Case:
    outputs = (Value(type="float32", shape=(4, 8)),)
    kernel = weights("qint4", (4, 8))
    return Case(op="DEQUANTIZE", inputs=(kernel,), outputs=outputs, options=plain("DequantizeOptions"))


def test_every_row_of_the_table_has_a_verdict_for_each_runtime() -> None:
    stored = json.loads(resources.files("edgekit_converters.compat").joinpath("table.json").read_text("utf-8"))
    known = {str(at) for at in range(len(stored["verdicts"]))} | {"?"}
    rows = [row.split() for by_row in stored["ops"].values() for row in by_row]
    assert {len(row) for row in rows} == {len(stored["runtimes"])}
    assert {one for row in rows for one in row} <= known
    assert {status for status, _ in stored["verdicts"]} <= set(Status)
    assert all(len(spans) == len(stored["runtimes"]) for spans in stored["versions"].values())


def test_the_table_covers_every_builtin_op() -> None:
    stored = json.loads(resources.files("edgekit_converters.compat").joinpath("table.json").read_text("utf-8"))
    assert {case.op for case in all_cases()} - {"CUSTOM"} <= stored["ops"].keys()


@pytest.mark.parametrize(
    ("case", "runtime", "status"),
    [
        pytest.param(_transpose(6), OLD, Status.RUNS, id="transpose-of-rank-6"),
        pytest.param(_transpose(7), OLD, Status.FAILS, id="transpose-of-rank-7"),
        pytest.param(_dense(0), OLD, Status.RUNS, id="dynamic-range-dense"),
        pytest.param(_dense(4), OLD, Status.DIFFERS, id="dynamic-range-dense-per-channel"),
        pytest.param(_dense(4), NEW, Status.RUNS, id="dynamic-range-dense-per-channel-new"),
        pytest.param(_int4_weights(), OLD, Status.FAILS, id="int4-weights"),
        pytest.param(_int4_weights(), NEW, Status.RUNS, id="int4-weights-new"),
    ],
)
def test_what_other_measurements_found_is_in_the_table(case: Case, runtime: tuple[str, str], status: Status) -> None:
    assert _ask(case, runtime).status is status


def test_probes_run_today_say_what_the_table_says(tmp_path: Path) -> None:
    """Some of the committed table is measured again, on the runtime that is here."""
    import sys

    version = metadata.version("ai-edge-litert")
    at = table.load().columns("ai-edge-litert").get(version)
    if at is None:
        pytest.skip(f"ai-edge-litert {version} is not in the table: make compat-table")
    cases = [case for case in list(all_cases())[::ONE_IN] if not is_bare(case)]
    write_cases(tmp_path / "cases", [Probe(case=case, version=_version(case)) for case in cases])
    environment = Environment(runtime="ai-edge-litert", version=version)
    found = answers(environment, Path(sys.executable), tmp_path / "cases", tmp_path / "answers.jsonl")
    for number, case in enumerate(cases):
        told = table.load().ask(read_nodes(build(case, _version(case)), "a probe")[0], at)
        now = judge.verdict(found[number])
        if now is not None and now[0] == "runs":
            assert told.status in {Status.RUNS, Status.DIFFERS}, case
        elif now is not None:
            assert (told.status, told.reason) == now, case


def _version(case: Case) -> int:
    from edgekit_converters.compat.probes import FIRST_VERSION

    return FIRST_VERSION.get(case.op, 1)


def test_an_op_of_a_later_version_than_the_runtime_has_is_refused() -> None:
    case = Case(
        op="ABS", inputs=(Value(type="float32"),), outputs=(Value(type="float32"),), options=plain("AbsOptions")
    )
    node = read_nodes(build(case, 19), "a probe")[0]
    told = table.load().ask(node, _column(NEW))
    assert told.status is Status.FAILS
    assert "version 19" in told.reason


def test_types_that_were_not_probed_are_unknown_and_not_refused() -> None:
    odd = Case(op="ABS", inputs=(Value(type="complex64"),), outputs=(Value(type="complex64"),))
    assert _ask(odd, NEW).status is Status.UNKNOWN


def test_versions_between_probes_that_differ_are_unknown() -> None:
    known = table.load()
    asked = runtimes.columns(known, runtimes.parse("ai-edge-litert==1.9.9"))
    assert asked == {"1.9.9": (known.columns("ai-edge-litert")["1.4.0"], known.columns("ai-edge-litert")["2.0.3"])}
    assert runtimes.columns(known, runtimes.parse("tflite-runtime==1.0")) == {"1.0": ()}
    assert list(runtimes.columns(known, runtimes.parse("ai-edge-litert>=2.1"))) == ["2.1.6", "2.2.0", "2.3.0"]
    nodes = [_node(_dense(4))]
    both = [_column(OLD), _column(NEW)]
    assert [one.status for one in tflite_check.judge(known, nodes, "ai-edge-litert", both)] == [Status.UNKNOWN]
    assert [one.status for one in tflite_check.judge(known, nodes, "ai-edge-litert", [])] == [Status.UNKNOWN]


def test_a_finding_names_node_output_types_reason_and_what_to_do() -> None:
    (found,) = tflite_check.judge(table.load(), [_node(_dense(4))], "tflite-runtime", [_column(OLD)])
    assert (found.node, found.op, found.output) == (0, "FULLY_CONNECTED", "output0")
    assert found.types == "float32 qint8 float32 > float32 | per channel"
    assert (found.kind, found.source) == (Kind.PROBED, "tflite-runtime 2.14.0")
    assert "ai-edge-litert" in found.advice
    assert "--precision int8" in found.advice


@pytest.mark.parametrize("text", ["tflite", "tflite-runtime==", "openvino @ file:///x", "onnxruntime[gpu]", ""])
def test_what_is_no_runtime_is_refused(text: str) -> None:
    with pytest.raises(runtimes.UnknownRuntimeError):
        runtimes.parse(text)


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\0\0\0\0TFL3" + b"\xff" * 64, b"PK\x03\x04" + b"\0" * 64])
def test_a_broken_file_is_a_model_error(content: bytes) -> None:
    with pytest.raises(ModelFileError):
        read_nodes(content, "broken.tflite")


def _rules(runtime: str, model: Path) -> list[Finding]:
    return TFLITE_RULES[runtime](read_nodes(model.read_bytes(), str(model)))


def test_the_edge_tpu_takes_whole_numbers_only(repository: Path) -> None:
    models = repository / "tests/data/models"
    found = _rules("edgetpu", models / "conv.tflite")
    assert any("float32" in one.reason and "--precision int8" in one.advice for one in found)
    assert all(one.kind is Kind.RULE and "Coral" in one.source for one in found)


def test_a_free_input_is_told_once_and_not_at_every_op_it_reaches() -> None:
    free = Value(type="float32", signature=(-1, 4, 4, 4))
    case = Case(op="EXP", inputs=(free,), outputs=(free,), options=plain("ExpOptions"))
    first = _node(case)
    second = replace(first, index=1, inputs=first.outputs, outputs=())
    (told,) = TFLITE_RULES["tflite-gpu"]([first, second])
    assert told.node is None
    assert "is not fixed" in told.reason
    assert "--shape" in told.advice
    parameter = {"index": 0, "op": "Parameter", "output": "x", "types": ["f32"], "dynamic": True}
    relu = {"index": 1, "op": "Relu", "output": "y", "types": ["f32"], "dynamic": True}
    assert [one.op for one in openvino_devices.judge("NPU", [parameter, relu])] == ["Parameter"]


@pytest.mark.shared_data
def test_the_edge_tpus_own_example_passes_its_rules(shared_data: Path) -> None:
    assert _rules("edgetpu", shared_data / "imagenet250/mobilenet_v2_1.0_224_quant.tflite") == []
    assert _rules("tflite-gpu", shared_data / "imagenet250/mobilenet_v2_1.0_224_quant.tflite") == []


def test_the_gpu_delegate_takes_four_dimensions_and_fixed_shapes() -> None:
    def reasons(value: Value) -> list[str]:
        case = Case(op="EXP", inputs=(value,), outputs=(value,), options=plain("ExpOptions"))
        return [one.reason for one in TFLITE_RULES["tflite-gpu"]([_node(case)])]

    assert reasons(Value(type="float32")) == []
    assert "5 dimensions" in reasons(Value(type="float32", shape=(1, 1, 2, 2, 2)))[0]
    assert "not fixed" in reasons(Value(type="float32", signature=(-1, 4, 4, 4)))[0]
    assert "float64" in reasons(Value(type="float64"))[0]


def test_the_npu_takes_fixed_shapes_and_the_gpu_free_ones() -> None:
    node: dict[str, Any] = {"index": 3, "op": "Relu", "output": "relu", "types": ["f32"], "dynamic": True}
    (found,) = openvino_devices.judge("NPU", [node])
    assert (found.node, found.output) == (3, "relu")
    assert "--shape" in found.advice
    assert openvino_devices.judge("GPU", [node]) == []
    assert "f64" in openvino_devices.judge("GPU", [{**node, "types": ["f64"]}])[0].reason


def test_the_answer_of_a_case_is_kept_until_the_case_changes(tmp_path: Path) -> None:
    import sys

    def ask(case: Case) -> list[str]:
        write_cases(tmp_path / "cases", [Probe(case=case)])
        here = Environment(runtime="ai-edge-litert", version=metadata.version("ai-edge-litert"))
        answers(here, Path(sys.executable), tmp_path / "cases", tmp_path / "answers.jsonl")
        return (tmp_path / "answers.jsonl").read_text().splitlines()

    first = ask(_transpose(3))
    assert ask(_transpose(3)) == first
    assert len(ask(_transpose(4))) > len(first)


def test_what_a_library_says_is_told_without_its_file_names() -> None:
    def telling(reason: str) -> str:
        verdict = judge.verdict({"ok": False, "reason": reason, "said": ""})
        assert verdict is not None
        return verdict[1]

    noisy = "tensorflow/lite/kernels/abs.cc:90 Type 4 is unsupported.Node number 0 (ABS) failed to prepare."
    assert telling(noisy) == "Type 4 is unsupported."
    deep = (
        "Exception from src/inference/src/cpp/core.cpp:132:\nCheck 'x' failed at src/a.cpp:1:\nIndices must be i64.\n\n"
    )
    assert telling(deep) == "Indices must be i64."
    assert telling("Didn't find op for builtin opcode 'ABS' version '9'") == table.ABSENT
