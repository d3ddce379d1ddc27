"""A budget of time: what trials find is the budget of multiplications that the step is carried out with."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit_converters.compress.engine import Compressed, compress
from edgekit_converters.compress.figures import infer_shapes, macs_of
from edgekit_converters.compress.latency import NEAR, SAMPLES, TRIALS, choose, few, search
from edgekit_converters.compress.steps import RecipeStep, parse_step, parse_steps
from edgekit_converters.errors import ConversionError, PrecisionError, UnsupportedError
from edgekit_converters.events import Event
from edgekit_converters.graph import model as graph_model
from edgekit_converters.jobs import JobRunner
from tests.converters import onnx_text

pytest.importorskip("onnx")

NET = """(float[n,4,6,6] x) => (float[n,5,6,6] y) {
    a = Conv<pads = [1, 1, 1, 1]>(x, w, b)  r = Relu(a)  d = Conv<pads = [1, 1, 1, 1]>(r, u, e)  s = Relu(d)
    y = Conv<pads = [1, 1, 1, 1]>(s, v, c)
}"""
SHAPES = {"w": (24, 4, 3, 3), "b": (24,), "u": (24, 24, 3, 3), "e": (24,), "v": (5, 24, 3, 3), "c": (5,)}


def macs(path: Path) -> int:
    model = graph_model.load(path)
    infer_shapes(model)
    return sum(macs_of(model).values())


def by_macs(overhead: float) -> Callable[[Path, Path], float]:
    """Return a clock by which a model takes its multiplications, and `overhead` of the whole's beside them."""
    return lambda before, candidate: overhead + (1 - overhead) * macs(candidate) / macs(before)


def on_paper(overhead: float, least: float = 0.0) -> Callable[[float], float | None]:
    return lambda share: None if share < least else overhead + (1 - overhead) * share


@pytest.fixture
def net(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    return onnx_text.write(tmp_path / "net.onnx", NET, weights)


@pytest.fixture
def samples() -> dict[str, Any]:
    return {"x": np.random.default_rng(1).normal(size=(96, 4, 6, 6)).astype(np.float32)}


def done(net: Path, *texts: str, **more: Any) -> Compressed:
    work = net.parent / f"work-{len(list(net.parent.iterdir()))}"
    work.mkdir()
    return compress(net, parse_steps(texts), JobRunner(log=net.parent / "log"), work, **more)


@pytest.mark.parametrize("overhead", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("budget", [0.4, 0.67, 0.9])
def test_a_search_ends_just_below_the_budget(overhead: float, budget: float) -> None:
    shares = search(budget, on_paper(overhead))
    kept = [share for share in shares.values() if share is not None and share <= budget]
    assert (1 - NEAR) * budget <= max(kept) <= budget
    assert len(shares) <= TRIALS


def test_a_search_goes_up_where_so_much_cannot_be_taken() -> None:
    shares = search(0.5, on_paper(0.2, least=0.3))
    assert shares[0.25] is None
    assert max(share for share in shares.values() if share is not None and share <= 0.5) >= 0.48


Answers = list[float | None]


class Scripted:
    """Trials that come to these answers one after the other, None where so much cannot go."""

    def __init__(self, answers: Answers) -> None:
        """Take what they come to."""
        self._answers = iter(answers)
        self.said: dict[float, float | None] = {}

    def carry_out(self, trial: RecipeStep) -> Path:
        share = float(trial.values["macs"])
        self.said[share] = next(self._answers)
        if self.said[share] is None:
            raise UnsupportedError("so much cannot go")
        return Path(str(share))

    def share_of(self, path: Path) -> float:
        return self.said[float(str(path))] or 0.0

    def choose(self, text: str) -> RecipeStep:
        return choose(parse_step(text), self.carry_out, self.share_of, lambda _: None).step


SHARE = st.floats(0.01, 1.5)
ANSWERS = st.lists(st.none() | SHARE, min_size=TRIALS, max_size=TRIALS)


@settings(deadline=None)
@given(st.floats(0.01, 0.99), ANSWERS)
def test_whatever_a_clock_says_the_largest_that_kept_to_the_budget_is_taken(budget: float, answers: Answers) -> None:
    clock = Scripted([budget / 2, *answers[1:]])
    found = clock.choose(f"prune-channels:latency={budget},rounds=4,layers=a/b*")
    kept = [macs for macs, share in clock.said.items() if share is not None and share <= budget]
    assert found.text == f"prune-channels:macs={max(kept)},rounds=4,layers=a/b*"
    assert all(0 < one < 1 for one in clock.said)


@settings(deadline=None)
@given(st.floats(0.01, 0.99), st.lists(st.none() | st.just(1.2), min_size=TRIALS, max_size=TRIALS))
def test_where_no_trial_kept_to_the_budget_the_fastest_or_what_hindered_it_is_told(
    budget: float, answers: Answers
) -> None:
    clock = Scripted(answers)
    with pytest.raises(UnsupportedError) as caught:
        clock.choose(f"prune-channels:latency={budget}")
    measured = [macs for macs, share in clock.said.items() if share is not None]
    wanted = f"leaves 120.0% of the time (macs={measured[0]})" if measured else "so much cannot go"
    assert wanted in str(caught.value)


def test_an_optional_step_that_nothing_can_be_done_to_stays_one() -> None:
    clock = Scripted([None] * TRIALS)
    assert clock.choose("prune-channels:latency=0.5,optional").text == "prune-channels:macs=0.5,optional"


def test_a_trial_takes_few_samples_from_all_over() -> None:
    taken = few({"x": np.arange(1000), "y": np.arange(1000)})
    assert list(taken["x"]) == list(taken["y"])
    assert SAMPLES / 2 < len(taken["x"]) <= SAMPLES
    assert taken["x"][-1] > 900
    assert len(few({"x": np.arange(5)})["x"]) == 5


def test_the_step_is_carried_out_with_the_multiplications_that_were_found(net: Path, samples: dict[str, Any]) -> None:
    told: list[Event] = []
    made = done(net, "prune-channels:latency=0.6", calibration=samples, timed=by_macs(0.2), on_event=told.append)
    (stage,) = made.stages
    found = float(stage.step.values["macs"])
    assert stage.step.text == f"prune-channels:macs={found}"
    assert 0.4 < found < 0.6
    figures = stage.effect.figures
    share = float(figures["latency_share"] or 0)
    assert share == pytest.approx(by_macs(0.2)(made.before, made.path), abs=0.001)
    assert 0.5 < share <= 0.62
    assert figures["latency_budget"] == 0.6
    assert f"macs={found} 0." in str(figures["latency_trials"])
    trials = [one.detail for one in told if "of the time, 60.0% are wanted" in one.detail]
    assert trials[0].startswith("macs=0.6 leaves ")
    again = done(net, stage.step.text, calibration=samples)
    assert again.path.read_bytes() == made.path.read_bytes()
    assert "latency_share" not in again.stages[0].effect.figures


@pytest.mark.slow
def test_the_share_is_of_the_model_that_the_step_gets(net: Path, samples: dict[str, Any]) -> None:
    step = "prune-channels:latency=0.6,by=l2,refit=off"
    made = done(net, "prune-channels:macs=0.5,by=l2,refit=off", step, calibration=samples, timed=by_macs(0.0))
    first, second = made.stages
    assert 0.5 < macs(second.path) / macs(first.path) <= 0.6


@pytest.mark.slow
def test_without_data_a_step_that_needs_none_keeps_to_a_budget_of_time(net: Path) -> None:
    made = done(net, "prune-channels:latency=0.5,by=l1,refit=off", timed=by_macs(0.1))
    assert 0.4 < float(made.stages[0].step.values["macs"]) < 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "overhead", "words"),
    [
        ("prune-channels:latency=0.3", 0.5, r"out of reach: the fastest of \d trials leaves .* of the time .*, not 30"),
        ("prune-channels:latency=0.2,least=20", 0.0, "of the multiplications are left where technique prune-channels"),
    ],
)
def test_a_budget_out_of_reach_says_what_was_reached(net: Path, text: str, overhead: float, words: str) -> None:
    with pytest.raises(UnsupportedError, match=words):
        done(net, f"{text},by=l2,refit=off", timed=by_macs(overhead))


def test_a_model_that_cannot_be_timed_ends_the_search_at_once(net: Path) -> None:
    asked: list[Path] = []

    def timed(_: Path, candidate: Path) -> float:
        asked.append(candidate)
        raise ConversionError("no runtime runs it")

    with pytest.raises(ConversionError, match="no runtime runs it"):
        done(net, "prune-channels:latency=0.5,by=l2,refit=off", timed=timed)
    assert len(asked) == 1


@pytest.mark.slow
def test_an_optional_step_without_channels_to_take_is_left_out_unmeasured(tmp_path: Path) -> None:
    weights = {"w": np.eye(4, dtype=np.float32)}
    path = onnx_text.write(tmp_path / "dense.onnx", "(float[n,4] x) => (float[n,4] y) { y = MatMul(x, w) }", weights)
    made = done(path, "prune-channels:latency=0.5,by=l2,refit=off,optional", timed=by_macs(0.0))
    assert made.stages[0].step.text == "prune-channels:macs=0.5,by=l2,refit=off,optional"
    assert not made.stages[0].effect.changes
    assert made.stages[0].effect.left[0].why.startswith("none of its channels can go")


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (
            ["snap", "prune-channels:latency=0.5,macs=0.5"],
            "takes one budget of .*, parameters, latency, and 2 are given",
        ),
        (["snap", "prune-channels:latency=0.5,layers=nix"], "no layer is called 'nix'"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_any_work(
    net: Path, samples: dict[str, Any], texts: Sequence[str], words: str
) -> None:
    with pytest.raises(UnsupportedError, match=words):
        done(net, *texts, calibration=samples, timed=by_macs(0.0))
    assert not list(net.parent.rglob("net.1.onnx"))


def test_without_anything_that_measures_it_is_refused_before_any_work(net: Path, samples: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError, match=r"prune-channels:latency=0\.5 needs latency to be measured: leave"):
        done(net, "snap", "prune-channels:latency=0.5", calibration=samples)
    assert not list(net.parent.rglob("*.plain.onnx"))


@pytest.mark.parametrize("value", ["1", "1.2", "-0.1", "nan", "fast"])
def test_a_share_that_is_none_is_refused_while_it_is_read(value: str) -> None:
    with pytest.raises(PrecisionError, match=r"option 'latency' takes 0\.0 to 0\.99"):
        parse_step(f"prune-channels:latency={value}")
