"""Golden vectors: repeated within the tolerance, or refused with the output and a figure; and for which devices."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekit_agent import bundle, runtimes
from edgekit_agent.bundle import RuntimeRange, golden, trial
from edgekit_agent.bundle.versions import within
from edgekit_agent.errors import BundleError, BundleUnfitError, ModelError, RuntimeMissingError
from edgekit_agent.runtimes.base import Array, Session, TensorSpec
from tests.agent.bundle_maker import scripted


class Model:
    """A session that gives one value for every output, and what is to be changed of it."""

    def __init__(self, spec: TensorSpec, value: float) -> None:
        """Take the output and its value."""
        self.runtime = "test 1"
        self.executed_on: tuple[str, ...] = ("CPU",)
        self.operators: dict[str, int] = {}
        self.inputs: tuple[TensorSpec, ...] = (TensorSpec(name="x", shape=(1, 4), dtype="float32"),)
        self.outputs: tuple[TensorSpec, ...] = (spec,)
        self._value = value

    def invoke(self, arrays: Sequence[Array]) -> list[Array]:
        assert arrays[0].shape == (1, 4)
        return [np.full((1, 2), self._value, self.outputs[0].dtype)]

    def close(self) -> None:
        """Nothing to free."""


def _session(folder: Path) -> Session:
    return runtimes.get("null").load(folder / "model.null")


def test_what_was_made_is_repeated(tmp_path: Path) -> None:
    manifest = scripted(tmp_path)
    proof = golden.prove(_session(tmp_path), manifest, tmp_path)
    assert (proof.passed, proof.reason, proof.runs) == (True, "", 3)
    assert [(one.output, one.worst) for one in proof.differences] == [("y", 0.0)]
    assert trial.prove(tmp_path) == proof
    assert golden.Proof.from_json(trial.run({"prove": {"folder": str(tmp_path), "device": None}})) == proof


def test_a_difference_is_told_with_its_figure_and_run_and_passes_within_the_tolerance(tmp_path: Path) -> None:
    manifest = scripted(tmp_path, tolerance=0.5)
    values = np.frombuffer((tmp_path / "golden-output-0.raw").read_bytes(), np.float32).copy()
    values[3] += 0.25  # of the second run
    (tmp_path / "golden-output-0.raw").write_bytes(values.tobytes())
    assert golden.prove(_session(tmp_path), manifest, tmp_path).passed
    strict = replace(manifest, golden=replace(manifest.golden, tolerance={"y": 0.125}))
    proof = golden.prove(_session(tmp_path), strict, tmp_path)
    assert not proof.passed
    assert proof.reason == "output 'y' differs by 0.25 from its golden values in run 1, more than the 0.125 allowed"
    assert proof.differences[0].worst == 0.25


@pytest.mark.parametrize(
    ("spec", "value", "why"),
    [
        (TensorSpec(name="y", shape=(1, 2), dtype="float32"), np.nan, "holds values that are not numbers in run 0"),
        (TensorSpec(name="y", shape=(1, 2), dtype="float32"), np.inf, "holds values that are not numbers in run 0"),
        (
            TensorSpec(name="z", shape=(1, 2), dtype="float32"),
            0,
            "output 'z' (float32) where its manifest names 'y'",
        ),
        (TensorSpec(name="y", shape=(1, 2), dtype="int8"), 0, "output 'y' (int8) where its manifest names"),
    ],
    ids=["not a number", "infinite", "another name", "another type"],
)
def test_other_models_fail_with_a_reason(tmp_path: Path, spec: TensorSpec, value: float, why: str) -> None:
    proof = golden.prove(Model(spec, value), scripted(tmp_path), tmp_path)
    assert not proof.passed
    assert why in proof.reason
    assert golden.Proof.from_json(json.loads(proof.to_bytes())) == proof


def test_a_model_that_raises_fails_with_its_words(tmp_path: Path) -> None:
    manifest = scripted(tmp_path)
    script = json.loads((tmp_path / "model.null").read_text())
    (tmp_path / "model.null").write_text(json.dumps({**script, "faults": {"1": "raise"}}))
    proof = trial.prove(tmp_path)
    assert proof.reason == "the model fails on its golden inputs: the script raises here"
    assert golden.prove(_session(tmp_path), manifest, tmp_path).runs == 3


def test_quantized_outputs_are_compared_as_real_values(tmp_path: Path) -> None:
    spec = TensorSpec(name="y", shape=(1, 2), dtype="int8", scale=(0.5, 2.0), zero_point=(1, -1), axis=1)
    feeds = [[np.zeros((1, 4), np.float32)]] * 2
    made = golden.make(Model(spec, 3), feeds, tmp_path)
    assert made.spans == {"y": 8.0}  # (3 + 1) * 2
    manifest = replace(
        scripted(tmp_path / "other"),
        inputs=made.inputs,
        outputs=made.outputs,
        golden=bundle.Golden(
            made_with="t", inputs=made.golden_inputs, outputs=made.golden_outputs, tolerance={"y": 1.9}
        ),
    )
    assert golden.prove(Model(spec, 3), manifest, tmp_path).passed
    proof = golden.prove(Model(spec, 4), manifest, tmp_path)
    assert proof.reason == "output 'y' differs by 2 from its golden values in run 0, more than the 1.9 allowed"


def test_vectors_that_hold_no_numbers_or_other_shapes_are_not_made(tmp_path: Path) -> None:
    spec = TensorSpec(name="y", shape=(1, 2), dtype="float32")
    feed = [np.zeros((1, 4), np.float32)]
    with pytest.raises(ModelError, match="'y' holds values that are not numbers"):
        golden.make(Model(spec, np.nan), [feed], tmp_path)

    class Growing(Model):
        def invoke(self, arrays: Sequence[Array]) -> list[Array]:
            self._value += len(arrays)
            return [np.zeros((int(self._value), 2), np.float32)]

    with pytest.raises(ModelError, match="'y' has another shape from run to run"):
        golden.make(Growing(spec, 0), [feed, feed], tmp_path)


def test_hardware_is_compared_with_the_device_s_own(tmp_path: Path) -> None:
    manifest = replace(scripted(tmp_path), hardware=("raspberry-pi-4", "raspberry-pi-5"))
    bundle.check_hardware(manifest, {"raspberry-pi-5", "lab"})
    bundle.check_hardware(replace(manifest, hardware=()), ())
    with pytest.raises(
        BundleUnfitError, match="for hardware raspberry-pi-4, raspberry-pi-5, and this device is imx8mp"
    ):
        bundle.check_hardware(manifest, ["imx8mp"])


@pytest.mark.parametrize(
    ("version", "text", "inside"),
    [
        ("2.3.0", "", True),
        ("2.3.0", ">=2.3,<3", True),
        ("2.3", "==2.3.0", True),
        ("2.10.1", ">2.9", True),
        ("3.0", "<3", False),
        ("2026.4.1-rc1+x", ">=2026.4.1", True),
        ("2.14.0", "!=2.14", False),
        ("unknown", ">=1", False),
        ("unknown", "", True),
    ],
)
def test_versions_are_compared_by_their_numbers(version: str, text: str, inside: bool) -> None:
    assert within(version, text) == inside


@pytest.mark.parametrize("text", ["2.3", "~=2.3", ">=2.x", ">=2.3,", ">=" + "1." * 99, ">=" + "9" * 99])
def test_ranges_of_other_forms_are_refused(text: str) -> None:
    with pytest.raises(BundleError, match="not of the form"):
        within("1", text)


def test_the_first_runtime_that_is_here_in_its_range_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    here = runtimes.get("null").available().version
    chosen = bundle.choose_runtime(
        (RuntimeRange(name="next"), RuntimeRange(name="null", versions="<0.0.1"), RuntimeRange(name="null")), "kws 1"
    )
    assert chosen.versions == ""
    with pytest.raises(BundleUnfitError, match=f"null {here} is here and >=99 is needed"):
        bundle.choose_runtime((RuntimeRange(name="null", versions=">=99"),), "kws 1")
    with pytest.raises(BundleUnfitError, match="a runtime that this agent does not know: next"):
        bundle.choose_runtime((RuntimeRange(name="next"),), "kws 1")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(RuntimeMissingError, match="onnxruntime is not installed"):
        bundle.choose_runtime((RuntimeRange(name="onnxruntime"),), "kws 1")
