"""What a new model has to show in the process that is to serve it."""

from pathlib import Path

import pytest

from edgekit_agent import bundle, runtimes
from edgekit_agent.bundle import acceptance
from edgekit_agent.bundle.acceptance import AcceptanceError, accept
from edgekit_agent.bundle.manifest import Bounds
from edgekit_agent.protocol import Reason
from tests.agent import bundle_maker


@pytest.fixture(autouse=True)
def _few_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptance, "TIMED_S", 0.05)


def unpacked(folder: Path, models: Path, bounds: Bounds | None = None, wrong_by: float = 0.0) -> Path:
    made = bundle_maker.release(
        folder / "made", models / "dense.tflite", "ai-edge-litert", "1.0.0", 1, bounds=bounds, wrong_by=wrong_by
    )
    bundle.unpack(made, folder / "slot")
    return folder / "slot"


def proved(slot: Path) -> acceptance.Acceptance:
    manifest = bundle.read_folder(slot)
    return accept(runtimes.get("ai-edge-litert").load(slot / manifest.artifact), slot)


def test_a_sound_model_is_accepted_and_says_what_was_measured(tmp_path: Path, models: Path) -> None:
    found = proved(unpacked(tmp_path, models, Bounds(p50_ms=60_000, p99_ms=60_000, memory_bytes=10**12)))
    assert found.golden_runs == 3
    assert set(found.worst.values()) == {0.0}
    assert 0 < found.p50_ms <= found.p99_ms
    assert found.runs >= acceptance.LEAST_RUNS
    assert found.rss_bytes > 10_000_000


@pytest.mark.parametrize(
    ("release", "reason", "text"),
    [
        ((None, 0.25), Reason.GOLDEN_MISMATCH, "more than the 0.001 allowed"),
        ((Bounds(p50_ms=1e-6), 0.0), Reason.LATENCY_EXCEEDED, "the median latency is"),
        ((Bounds(p99_ms=1e-6), 0.0), Reason.LATENCY_EXCEEDED, "the 99th percentile"),
        ((Bounds(memory_bytes=1000), 0.0), Reason.MEMORY_EXCEEDED, "0.0 are allowed"),
    ],
    ids=["golden", "p50", "p99", "memory"],
)
def test_what_is_not_as_promised_is_refused_with_its_reason(
    tmp_path: Path, models: Path, release: tuple[Bounds | None, float], reason: Reason, text: str
) -> None:
    slot = unpacked(tmp_path, models, *release)
    with pytest.raises(AcceptanceError, match=text) as caught:
        proved(slot)
    assert caught.value.reason is reason


def test_another_model_under_the_same_manifest_is_refused(tmp_path: Path, models: Path) -> None:
    slot = unpacked(tmp_path, models)
    session = runtimes.get("ai-edge-litert").load(models / "two.tflite")
    with pytest.raises(AcceptanceError) as caught:
        accept(session, slot)
    assert caught.value.reason is Reason.GOLDEN_MISMATCH
