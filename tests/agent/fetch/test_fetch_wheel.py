"""Wheels of the agent, sound and forged."""

import hashlib
import shutil
import zipfile
from pathlib import Path

import pytest

from edgekit_agent.fetch import slots, wheel
from edgekit_agent.fetch.blobs import BlobStore
from edgekit_agent.fetch.errors import FetchError
from edgekit_agent.fetch.install import run
from edgekit_agent.fetch.messages import FetchRequest
from edgekit_agent.protocol import Reason
from tests.agent import wheel_maker

SMALL = {
    "edgekit_agent/__init__.py": b'__version__ = "9.0.0"\n',
    "edgekit_agent-9.0.0.dist-info/METADATA": b"Name: edgekit-agent\nVersion: 9.0.0\nRequires-Python: >=3.11\n\n",
}


def whole(files: dict[str, bytes]) -> dict[str, bytes]:
    name, text = wheel_maker.record(files, "9.0.0")
    return {**files, name: text}


def refused(path: Path, folder: Path, reason: Reason) -> str:
    with pytest.raises(FetchError) as caught:
        wheel.unpack(path, "9.0.0", folder / "slots" / "a")
    assert caught.value.reason is reason, str(caught.value)
    assert not (folder / "slots" / "a").exists()
    return str(caught.value)


def test_a_wheel_becomes_a_complete_slot(tmp_path: Path) -> None:
    made = wheel_maker.made(tmp_path, "9.0.0")
    sha256 = hashlib.sha256(made.read_bytes()).hexdigest()
    path = BlobStore(tmp_path).path(sha256)
    path.parent.mkdir(parents=True)
    shutil.copy(made, path)
    slot = slots.slots_of(tmp_path, slots.AGENT) / "a"
    assert slot == tmp_path / "agent" / "slots" / "a"
    request = FetchRequest(
        op="install", store=str(tmp_path), slot=str(slot), model=slots.AGENT, version="9.0.0", sha256=sha256,
        reserve_bytes=0,
    )  # fmt: skip
    run(request)
    assert slots.marked(slot) == sha256
    assert (slot / "edgekit_agent" / "service.py").read_bytes() == (wheel_maker.HERE / "service.py").read_bytes()
    run(request)


@pytest.mark.parametrize(
    "name", ["../evil.py", "/evil.py", "edgekit_agent/../../evil.py", "other/x.py", "evil.pth", "edgekit_agent/.x"]
)
def test_a_file_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    path = wheel_maker.write(tmp_path / "x.whl", whole({**SMALL, name: b"evil"}))
    assert "evil" in refused(path, tmp_path, Reason.BUNDLE_INVALID) or ".x" in name or "other" in name
    assert not list(tmp_path.rglob("evil*"))


def test_a_file_that_was_changed_or_added_is_refused(tmp_path: Path) -> None:
    files = whole(SMALL)
    changed = {**files, "edgekit_agent/__init__.py": b"evil"}
    assert "RECORD" in refused(wheel_maker.write(tmp_path / "1.whl", changed), tmp_path, Reason.BUNDLE_INVALID)
    added = {**files, "edgekit_agent/evil.py": b"evil"}
    assert "RECORD" in refused(wheel_maker.write(tmp_path / "2.whl", added), tmp_path, Reason.BUNDLE_INVALID)


def test_a_bomb_is_refused_before_anything_of_it_is_inflated(tmp_path: Path) -> None:
    path = wheel_maker.write(tmp_path / "x.whl", {**SMALL, "edgekit_agent/big.py": bytes(wheel.MOST_BYTES + 1)})
    assert path.stat().st_size < 1_000_000
    refused(path, tmp_path, Reason.TARGET_TOO_LARGE)


def test_a_bomb_that_declares_a_small_size_is_not_inflated(tmp_path: Path) -> None:
    files = whole({**SMALL, "edgekit_agent/big.py": bytes(5_000_000)})
    data = wheel_maker.write(tmp_path / "x.whl", files).read_bytes()
    path = tmp_path / "y.whl"
    path.write_bytes(data.replace((5_000_000).to_bytes(4, "little"), (9).to_bytes(4, "little")))
    refused(path, tmp_path, Reason.BUNDLE_INVALID)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (b"Name: edgekit-agent\nVersion: 8.0.0\n\n", Reason.BUNDLE_INVALID),
        (b"Name: something\nVersion: 9.0.0\n\n", Reason.BUNDLE_INVALID),
        (b"Name: edgekit-agent\nVersion: 9.0.0\nRequires-Python: >=9\n\n", Reason.BUNDLE_UNFIT),
        (b"Name: edgekit-agent\nVersion: 9.0.0\nRequires-Dist: paho-mqtt>=99\n\n", Reason.BUNDLE_UNFIT),
        (b"Name: edgekit-agent\nVersion: 9.0.0\nRequires-Dist: not-here-at-all\n\n", Reason.BUNDLE_UNFIT),
    ],
    ids=["version", "name", "python", "paho", "missing"],
)
def test_a_wheel_that_is_something_else_or_does_not_fit_is_refused(
    tmp_path: Path, metadata: bytes, reason: Reason
) -> None:
    files = whole({**SMALL, "edgekit_agent-9.0.0.dist-info/METADATA": metadata})
    refused(wheel_maker.write(tmp_path / "x.whl", files), tmp_path, reason)


@pytest.mark.parametrize("cut", [0, 10, 200, -30])
def test_a_torn_wheel_is_refused(tmp_path: Path, cut: int) -> None:
    path = wheel_maker.write(tmp_path / "x.whl", whole(SMALL))
    path.write_bytes(path.read_bytes()[:cut])
    refused(path, tmp_path, Reason.BUNDLE_INVALID)


@pytest.mark.parametrize("missing", ["RECORD", "METADATA"])
def test_a_wheel_without_its_papers_is_refused(tmp_path: Path, missing: str) -> None:
    files = {name: data for name, data in whole(SMALL).items() if not name.endswith(missing)}
    refused(wheel_maker.write(tmp_path / "x.whl", files), tmp_path, Reason.BUNDLE_INVALID)


def test_random_bytes_in_a_wheel_are_a_refusal_and_no_crash(tmp_path: Path) -> None:
    good = wheel_maker.write(tmp_path / "x.whl", whole(SMALL)).read_bytes()
    for place in range(0, len(good), 23):
        path = tmp_path / "y.whl"
        path.write_bytes(good[:place] + bytes([good[place] ^ 0x55]) + good[place + 1 :])
        slot = tmp_path / "slots" / "a"
        try:
            wheel.unpack(path, "9.0.0", slot)
        except FetchError:
            assert not slot.exists()
        else:  # a byte that says nothing: the time of an entry
            assert (slot / "edgekit_agent" / "__init__.py").read_bytes() == SMALL["edgekit_agent/__init__.py"]
            shutil.rmtree(slot)
    assert zipfile.is_zipfile(tmp_path / "x.whl")
    assert list((tmp_path / "slots").iterdir()) == []
