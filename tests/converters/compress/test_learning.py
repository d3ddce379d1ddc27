"""Fine-tuning and distillation on the graph: what they learn, keep, refuse, and go on from."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.compress.engine import compress
from edgekit_converters.compress.steps import parse_steps
from edgekit_converters.errors import CalibrationError, PrecisionError
from edgekit_converters.jobs import JobRunner
from tests.converters.compress.learning_nets import classifier, saved


@pytest.fixture(scope="module")
def cases(run_cases: Callable[..., Any]) -> Any:
    return run_cases("converters.compress.learning_cases", needs=("torch", "onnx_ir", "onnxruntime", "sklearn"))


def test_fine_tuning_learns_and_leaves_the_graph(cases: Any) -> None:
    found = cases["finetune"]
    assert found["accuracy"] > 0.93
    assert found["same graph"]
    assert found["same shapes"]
    figures = found["figures"]
    assert figures["samples"] + figures["held_out"] == 1200
    assert figures["loss_last"] < 0.3 * figures["loss_first"]
    assert figures["score"] == "right classes"
    assert figures["score_after"] > 0.9 > figures["score_before"]
    assert len(found["changes"]) == 4
    assert all(what == "trained" and moved > 0.01 for _, what, moved in found["changes"])


def test_it_tells_every_epoch(cases: Any) -> None:
    found = cases["finetune"]
    ends = [one for one in found["told"] if "batch" not in one]
    assert ends[0].startswith("epoch 1 of 12: loss ")
    assert len(ends) == found["total"] == 12


def test_nets_of_a_fixed_batch_learn_as_that_of_a_free_one_does(cases: Any) -> None:
    assert all(apart < 1e-4 for apart in cases["batches"]["apart"].values())


@pytest.mark.parametrize("case", ["values", "whole_runs"])
def test_values_are_learnt(cases: Any, case: str) -> None:
    figures = cases[case]["figures"]
    assert figures["score"] == "minus the loss"
    assert figures["score_after"] > -0.3 > figures["score_before"]


def test_a_table_of_tokens_is_learnt(cases: Any) -> None:
    assert cases["tokens"]["figures"]["score_after"] > 0.8


def test_half_precision_is_trained_and_stays_half(cases: Any) -> None:
    assert cases["halves"]["figures"]["score_after"] > 0.85
    assert cases["halves"]["dtypes"] == ["float16", "float16"]


@pytest.mark.parametrize("way", ["soft", "inside", "noise", "mixup", "values"])
def test_a_student_learns_from_its_teacher_without_any_label(cases: Any, way: str) -> None:
    found = cases["distill"]
    assert found["teacher"] > 0.93
    assert found[way]["accuracy"] > 0.88
    assert found[way]["figures"]["score"] == "minus the loss"


@pytest.mark.parametrize("what", ["hard alone is fine-tuning", "soft alone needs no labels", "both are another"])
def test_alpha_weighs_teacher_and_labels(cases: Any, what: str) -> None:
    assert cases["with_labels"][what]


def test_a_teacher_of_another_batch_that_gives_logits_says_the_same(cases: Any) -> None:
    assert cases["own_teacher"]["same"] < 1e-4


def test_the_seed_decides(cases: Any) -> None:
    assert cases["seeds"] == {"same": True, "other": True}


def test_what_was_ended_goes_on_to_the_same_weights(cases: Any) -> None:
    found = cases["goes_on"]
    assert found["same"]
    assert len(found["went on"]) == 1
    assert found["finished"]
    assert found["files"] == [1, 2]  # another model beside it has a file of its own


def test_the_best_epoch_is_kept_and_patience_ends_it(cases: Any) -> None:
    found = cases["keeps_the_best"]
    assert found["same"]
    assert found["figures"]["best"] == 0
    assert found["figures"]["epochs"] == 2
    assert found["what"] == ["left as it was by the best epoch"]


def test_zeros_stay_where_that_is_asked_for(cases: Any) -> None:
    assert cases["zeros"]["kept"] >= 0.5 > cases["zeros"]["lost"]


def test_only_the_layers_named_are_trained(cases: Any) -> None:
    assert cases["only"]["moved"] == ["b3", "w3"]
    assert len(cases["only"]["layers"]) == 1


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("op", "op 'Hardmax' (node 'y') cannot be trained through: it has no PyTorch form"),
        ("weights", "it has no weights that are learnt"),
        ("labels", "output 'y' has 10 classes, and the labels go from 12 to 12"),
        ("counts", "there are 100 labels 'y' for 200 samples"),
        ("augment", "augment=moved is for inputs of four dimensions, of which it has none"),
        ("teacher", "the teacher takes x float32 (None, 3), the student x float32 (None, 1, 8, 8)"),
        ("attention", "attention needs values of the same height and width in teacher and student, where all passes"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(cases: Any, which: str, message: str) -> None:
    assert cases["refusals"][which] == message


def test_a_teacher_that_is_not_there_and_a_loss_that_is_no_number_end_in_a_sentence(cases: Any) -> None:
    found = cases["refusals"]
    assert found["no file"]["type"] == "ModelFileError"
    assert "nowhere.onnx" in found["no file"]["message"]
    assert found["nan"]["type"] == "TrainingError"
    assert found["nan"]["message"].startswith("the loss is ")


@pytest.mark.parametrize(
    "text",
    ["finetune:epochs=0", "finetune:rate=2", "finetune:hold=1", "distill:alpha=1.5", "distill:temperature=0",
     "distill:teacher=", "finetune:augment=crop", "finetune:teacher=a.onnx"],
)  # fmt: skip
def test_options_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(PrecisionError):
        parse_steps([text])


def test_fine_tuning_needs_labels_and_distillation_only_samples(tmp_path: Path) -> None:
    model, jobs = saved(classifier(), tmp_path / "m.onnx"), JobRunner(log=tmp_path / "log")
    samples = {"x": np.zeros((4, 1, 8, 8), np.float32)}
    with pytest.raises(CalibrationError, match="technique finetune needs labels in the --calib data"):
        compress(model, parse_steps(["finetune"]), jobs, tmp_path, calibration=samples)
    with pytest.raises(CalibrationError, match="technique distill needs calibration data"):
        compress(model, parse_steps(["distill"]), jobs, tmp_path)


KILLED = """
import sys
from pathlib import Path
import numpy as np
from edgekit_converters.compress.engine import compress
from edgekit_converters.compress.steps import parse_steps
from edgekit_converters.jobs import JobRunner
from tests.converters.compress.learning_nets import weights
import onnx_ir as ir

work, kept = Path(sys.argv[1]), Path(sys.argv[2])
work.mkdir()
rng = np.random.default_rng(0)
samples, labels = rng.normal(size=(300, 1, 8, 8)).astype(np.float32), rng.integers(0, 10, 300)
made = compress(
    Path(sys.argv[3]), parse_steps(["finetune:epochs=6,hold=0.2"]), JobRunner(log=work / "log"), work,
    calibration={"x": samples}, labels={"y": labels}, kept=kept, on_event=lambda event: print(event.detail, flush=True),
)
np.savez(work / "weights.npz", **weights(ir.load(made.path)))
"""


@pytest.mark.slow
def test_a_run_killed_without_warning_goes_on_when_it_is_repeated(tmp_path: Path, repository: Path) -> None:
    pytest.importorskip("torch", reason="needs PyTorch: make setup-frameworks")
    model = saved(classifier(), tmp_path / "m.onnx")

    def start(name: str, kept: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path / name), str(tmp_path / kept), str(model)],
            stdout=subprocess.PIPE, text=True, cwd=repository, start_new_session=True,
        )  # fmt: skip

    whole, _ = start("whole", "one").communicate(timeout=200)
    with start("killed", "two") as killed:
        assert killed.stdout is not None
        end = time.monotonic() + 120
        while not killed.stdout.readline().startswith("epoch 2 of 6: loss") and time.monotonic() < end:
            pass
        os.killpg(killed.pid, signal.SIGKILL)
    again, _ = start("again", "two").communicate(timeout=200)
    assert "going on" not in whole
    assert "going on" in again
    with np.load(tmp_path / "whole" / "weights.npz") as one, np.load(tmp_path / "again" / "weights.npz") as other:
        assert all(np.array_equal(one[name], other[name]) for name in one)
