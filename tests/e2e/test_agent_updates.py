"""Updates end to end: a real broker, repository and agent process."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from edgekit.repo import serving
from tests.agent import bundle_maker
from tests.e2e.updating import SLOW, TOPIC, Device, Publisher, script
from tests.sdk.repo.forging import expired, sign_over
from tests.sdk.repo.shop import Shop

pytestmark = pytest.mark.slow


def test_an_update_is_fetched_proved_tried_and_serves_without_a_gap(device: Device) -> None:
    device.publisher.release("2.0.0")
    with serving(device.publisher.repository) as url:
        device.start(url)
        device.listener.wait("tele", ver="1.2.0")
        device.announce("2.0.0")
        device.listener.wait("event", code="update-committed")
    device.serves("2.0.0")
    device.wait_for(lambda: len(device.agent.workers()) == 1, "the old worker has ended")
    assert device.phases("2.0.0")[-1] == "committed"
    assert device.reported("2.0.0", "committed")["serving"] == "2.0.0"
    assert not device.listener.of("event", code="worker-crashed")
    info = device.listener.of("info")[-1].body["models"][0]
    assert info["ver"] == "2.0.0"


def test_a_real_model_replaces_the_configured_one(device: Device, repository: Path) -> None:
    device.publisher.release("2.0.0", repository / "tests" / "data" / "models" / "dense.tflite")
    device.start()
    device.announce("2.0.0", target=None)  # by model and version alone
    device.listener.wait("event", code="update-committed")
    (first, *_) = device.listener.wait("tele", ver="2.0.0")
    assert first.body["rt"].startswith("ai-edge-litert")


def test_an_update_outlives_a_restart_and_a_second_one_takes_the_other_slot(device: Device, tmp_path: Path) -> None:
    device.start()
    for version in ("2.0.0", "2.1.0", "2.2.0"):
        device.publisher.release(version)
        device.announce(version)
        device.listener.wait("event", code="update-committed", model="kws")
        device.serves(version)
    assert device.agent.stop() == 0
    slots = tmp_path / "state" / "models" / "kws" / "slots"
    assert sorted(path.name for path in slots.iterdir()) == ["a", "b"]
    device.start()
    device.serves("2.2.0")
    blobs = [path for path in (tmp_path / "state" / "blobs").rglob("*") if path.is_file() and not path.suffix]
    assert len(blobs) == 2  # what serves, and what served before


@pytest.mark.parametrize(
    ("release", "reason", "text"),
    [
        ({"wrong_by": 0.5}, "golden-mismatch", "differs by 0.5"),
        ({"bounds": SLOW}, "latency-exceeded", "are allowed"),
        ({"model": script(faults={"0": "raise"})}, "golden-mismatch", "the script raises here"),
    ],
    ids=["golden", "slow", "fails"],
)
def test_a_model_that_does_not_prove_itself_is_rolled_back_and_the_reason_reported(
    device: Device, release: dict[str, Any], reason: str, text: str
) -> None:
    device.publisher.release("2.0.0", **release)
    device.start()
    device.listener.wait("tele", ver="1.2.0")
    device.announce("2.0.0")
    found = device.reported("2.0.0", "failed")
    assert (found["reason"], found["serving"]) == (reason, "1.2.0")
    assert text in found["detail"]["text"]
    device.listener.wait("event", code="update-failed")
    device.serves("1.2.0")


def test_a_model_that_crashes_in_its_trial_is_rolled_back_with_its_last_words(device: Device) -> None:
    """It proves itself, and dies a little later, again and again."""
    device.publisher.release("2.0.0", script(faults={"230": "segfault"}))
    device.start(trial_s=30)
    device.listener.wait("tele", ver="1.2.0")
    device.announce("2.0.0")
    found = device.reported("2.0.0", "failed")
    assert found["reason"] in {"crash-loop", "trial-crashes"}
    assert found["detail"]["signal"] == "SIGSEGV"
    assert any("Segmentation fault" in line for line in found["detail"]["stderr"])
    device.serves("1.2.0")


def test_a_newer_announcement_takes_the_place_of_an_update_that_has_not_begun_its_trial(
    device: Device, tmp_path: Path
) -> None:
    device.publisher.release("2.0.0")
    device.publisher.release("2.1.0")
    lost = tmp_path / "nowhere"
    device.start(allow=f'["{lost.as_uri()}"]')
    device.announce("2.0.0", bundle=lost.as_uri())  # a stick that is not in: it is tried again and again
    assert device.reported("2.0.0", "checking")
    device.announce("2.1.0")
    device.listener.wait("event", code="update-superseded")
    device.serves("2.1.0")


def test_an_announcement_that_is_not_newer_is_ignored(device: Device) -> None:
    device.publisher.release("2.0.0")
    device.publisher.release("2.1.0")
    old = device.publisher.desired("2.1.0")
    device.start()
    device.announce("2.0.0")
    device.listener.wait("event", code="update-committed")
    device.listener.client.publish(TOPIC, old, qos=1)
    device.listener.client.publish(TOPIC, "garbage {", qos=1)
    device.serves("2.0.0")
    assert device.phases("2.1.0") == []


@pytest.mark.parametrize(
    "phase", ["announced", "checking", "downloading", "verifying", "staged", "trial", "rolling_back", "committed"]
)
def test_an_agent_that_is_killed_in_a_phase_goes_on_from_there(device: Device, phase: str) -> None:
    broken = phase == "rolling_back"
    device.publisher.release("2.0.0", wrong_by=0.5 if broken else 0.0)
    device.start()
    device.listener.wait("tele", ver="1.2.0")
    device.announce("2.0.0")
    device.wait_for(
        lambda: phase in device.phases("2.0.0") or device.listener.of("event", code="update-committed"), phase
    )
    os.kill(device.agent.pid, signal.SIGKILL)
    device.agent.process.wait()
    device.start()
    device.serves("1.2.0" if broken else "2.0.0")


def test_a_device_that_is_told_nothing_asks_the_repository(device: Device) -> None:
    device.publisher.release("2.0.0")
    device.start(poll_s=1)
    device.serves("2.0.0")
    device.publisher.release("2.1.0", wrong_by=0.5)
    assert device.reported("2.1.0", "failed")["reason"] == "golden-mismatch"
    device.publisher.release("2.2.0")
    device.serves("2.2.0")


def test_a_model_without_a_file_comes_by_an_update(device: Device) -> None:
    device.publisher.release("2.0.0")
    text = device.toml()
    device.toml = lambda: "\n".join(line for line in text.splitlines() if not line.startswith("path"))
    device.start()
    device.announce("2.0.0")
    device.serves("2.0.0")


class TestAttacks:
    """What is refused leaves the model that serves alone, and says why."""

    def refused(self, device: Device, version: str, reason: str, **announced: Any) -> dict[str, Any]:
        device.start()
        device.listener.wait("tele", ver="1.2.0")
        device.announce(version, **announced)
        found = device.reported(version, "rejected")
        assert (found["reason"], found["serving"]) == (reason, "1.2.0"), found
        device.serves("1.2.0")
        return found

    def test_a_bundle_that_was_changed_after_it_was_signed(self, device: Device) -> None:
        device.publisher.release("2.0.0")
        (stored,) = (device.publisher.repository / "targets").rglob("*.ekb")
        data = bytearray(stored.read_bytes())
        data[len(data) // 2] ^= 1
        stored.write_bytes(data)
        device.start(check_s=3, download_s=8)
        device.announce("2.0.0")
        assert device.reported("2.0.0", "rejected")["reason"] in {"download-damaged", "deadline-passed"}
        device.serves("1.2.0")

    @pytest.mark.parametrize("member", ["../../../evil", "/evil", "a/../../evil"])
    def test_a_bundle_with_a_path_in_it_although_it_is_signed(
        self, device: Device, tmp_path: Path, member: str
    ) -> None:
        fits = {"version": "1.3.0", "hardware": [], "runtimes": [{"name": "ai-edge-litert"}]}
        made = bundle_maker.with_manifest(bundle_maker.packed(tmp_path / "plain"), lambda body: body.update(fits))
        parts = bundle_maker.entries(made)
        parts[2] = (bundle_maker.foreign(member, len(parts[2][1])), parts[2][1])
        bundle = tmp_path / "evil.ekb"
        bundle.write_bytes(bundle_maker.joined(parts))
        device.publisher.add("1.3.0", bundle)
        found = self.refused(device, "1.3.0", "bundle-invalid")
        assert "evil" in found["detail"]["text"]
        assert not list(tmp_path.rglob("evil"))
        assert not Path("/evil").exists()

    def test_a_bundle_for_other_hardware(self, device: Device) -> None:
        device.publisher.release("2.0.0", hardware=("raspberry-pi-4",))
        found = self.refused(device, "2.0.0", "hardware-mismatch")
        assert "raspberry-pi-4" in found["detail"]["text"]

    def test_metadata_that_has_expired(self, device: Device) -> None:
        device.publisher.release("2.0.0")
        sign_over(Shop(device.publisher.folder), "timestamp", expired)
        self.refused(device, "2.0.0", "metadata-expired")

    def test_metadata_signed_by_somebody_else(self, device: Device, tmp_path: Path) -> None:
        stranger = Publisher(tmp_path / "stranger")
        stranger.release("2.0.0")
        device.publisher.repository.rename(tmp_path / "gone")
        stranger.repository.rename(device.publisher.repository)
        self.refused(device, "2.0.0", "metadata-unsigned")

    def test_what_was_announced_is_not_what_was_signed(self, device: Device) -> None:
        device.publisher.release("2.0.0")
        self.refused(device, "2.0.0", "target-changed", sha256="0" * 64)

    def test_an_older_release_again(self, device: Device) -> None:
        device.publisher.release("2.0.0")
        device.publisher.release("2.1.0")
        device.start()
        device.announce("2.1.0")
        device.listener.wait("event", code="update-committed")
        device.announce("2.0.0")
        assert device.reported("2.0.0", "rejected")["reason"] == "release-rolled-back"
        device.serves("2.1.0")

    @pytest.mark.parametrize("url", ["file:///etc", "http://169.254.1.1/", "https://127.0.0.1.evil.example/"])
    def test_a_repository_that_is_not_allowed(self, device: Device, url: str) -> None:
        device.publisher.release("2.0.0")
        self.refused(device, "2.0.0", "repository-not-allowed", bundle=url)

    def test_a_model_of_another_name(self, device: Device) -> None:
        device.start()
        device.listener.wait("tele")
        text = device.publisher.desired("2.0.0").replace('"kws"', '"../kws"')
        device.listener.client.publish(TOPIC, text, qos=1)
        assert device.reported("2.0.0", "rejected")["reason"] == "model-unknown"
