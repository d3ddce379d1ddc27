"""From a bundle in the store to a complete slot, cut off anywhere."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekit_agent import bundle
from edgekit_agent.config import ModelConfig
from edgekit_agent.fetch import slots
from edgekit_agent.fetch.blobs import BlobStore
from edgekit_agent.fetch.errors import FetchError
from edgekit_agent.fetch.install import run
from edgekit_agent.fetch.messages import FetchRequest
from edgekit_agent.protocol import Reason
from edgekit_agent.update.records import Installed, Record, Records
from edgekit_agent.update.serving import to_start
from tests.agent import bundle_maker

Request = Callable[..., FetchRequest]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The agent's state folder."""
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


@pytest.fixture
def stored(tmp_path: Path, state: Path) -> Request:
    """Put a bundle into the store, and return what asks for its installation."""

    def put(version: str = "1.0.0", slot: str = "a", hardware: tuple[str, ...] = (), **asked: object) -> FetchRequest:
        model = tmp_path / "model.null"
        model.write_text(json.dumps(bundle_maker.SCRIPT))
        made = bundle_maker.release(tmp_path / f"made-{version}", model, "null", version, 1, hardware=hardware)
        sha256 = hashlib.sha256(made.read_bytes()).hexdigest()
        path = BlobStore(state).path(sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made, path)
        fields = {"model": "kws", "version": version, "hardware": (), "reserve_bytes": 0, **asked}
        folder = slots.slots_of(state, "kws") / slot
        return FetchRequest(op="install", store=str(state), slot=str(folder), sha256=sha256, **fields)  # type: ignore[arg-type]

    return put


def test_a_bundle_becomes_a_complete_slot_and_stays_one(stored: Request) -> None:
    request = stored()
    answer = run(request)
    assert (answer.status, answer.path) == ("ok", request.slot)
    slot = Path(str(request.slot))
    assert bundle.verify_folder(slot).version == "1.0.0"
    assert slots.marked(slot) == request.sha256
    marker = (slot / slots.COMPLETE).stat().st_mtime_ns
    run(request)
    assert (slot / slots.COMPLETE).stat().st_mtime_ns == marker


def test_what_was_in_the_slot_goes_with_its_marker_first(stored: Request) -> None:
    first, second = stored("1.0.0"), stored("1.1.0")
    run(first)
    run(second)
    slot = Path(str(second.slot))
    assert (slots.marked(slot), bundle.verify_folder(slot).version) == (second.sha256, "1.1.0")


@pytest.mark.parametrize("left", ["half a folder", "a folder without its marker", "a torn marker", "a file"])
def test_what_a_crash_has_left_is_written_anew(stored: Request, left: str) -> None:
    request = stored()
    slot = Path(str(request.slot))
    run(request)
    if left == "half a folder":
        shutil.rmtree(slot)
        slot.with_name(f".{slot.name}.part").mkdir()
        (slot.with_name(f".{slot.name}.part") / "model.null").write_bytes(b"half")
    elif left == "a folder without its marker":
        (slot / slots.COMPLETE).unlink()
    elif left == "a torn marker":
        (slot / slots.COMPLETE).write_bytes(b'{"sha2')
    else:
        (slot / slots.COMPLETE).unlink()
        (slot / "stranger").write_bytes(b"x")
    assert left == "half a folder" or slots.marked(slot) is None
    run(request)
    assert slots.marked(slot) == request.sha256
    bundle.verify_folder(slot)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"model": "vww"}, Reason.BUNDLE_INVALID),
        ({"max_bytes": 10}, Reason.BUNDLE_INVALID),
        ({"reserve_bytes": 1 << 60}, Reason.DISK_FULL),
    ],
    ids=["another-model", "too-large", "no-room"],
)
def test_what_cannot_be_installed_is_refused_and_leaves_no_slot(
    stored: Request, asked: dict[str, object], reason: Reason
) -> None:
    request = stored(**asked)
    _refused(request, reason)


def test_a_bundle_for_other_hardware_is_refused(stored: Request) -> None:
    _refused(stored(hardware=("raspberry-pi-4",)), Reason.HARDWARE_MISMATCH)


def test_a_bundle_that_was_changed_in_the_store_is_refused(stored: Request, state: Path) -> None:
    request = stored()
    path = BlobStore(state).path(str(request.sha256))
    data = bytearray(path.read_bytes())
    data[-1500] ^= 1
    path.write_bytes(data)
    _refused(request, Reason.DOWNLOAD_DAMAGED)
    path.unlink()
    _refused(request, Reason.DOWNLOAD_DAMAGED)


def _refused(request: FetchRequest, reason: Reason) -> None:
    with pytest.raises(FetchError) as caught:
        run(request)
    assert caught.value.reason is reason
    assert slots.marked(Path(str(request.slot))) is None


class TestWhatIsStarted:
    """After a start: the installed release, the one before it, or the configured one; never none."""

    @pytest.fixture
    def record(self, stored: Request) -> Record:
        """Two releases, each in its slot."""
        current, previous = stored("1.1.0", "b"), stored("1.0.0", "a")
        run(current)
        run(previous)
        return Record(
            current=Installed(slot="b", version="1.1.0", sha256=str(current.sha256), counter=2),
            previous=Installed(slot="a", version="1.0.0", sha256=str(previous.sha256), counter=1),
        )

    def started(self, record: Record, state: Path, **model: str) -> tuple[list[str], list[Reason]]:
        configured = ModelConfig(name="kws", version="0", **model)  # type: ignore[arg-type]  # paths
        found, troubles = to_start([configured], Records(models={"kws": record}), state)
        return [one.version for one in found], [one.reason for one in troubles]

    def test_the_current_one(self, record: Record, state: Path) -> None:
        assert self.started(record, state, path="x.null") == (["1.1.0"], [])

    def test_the_one_before_where_the_current_one_is_not_whole(self, record: Record, state: Path) -> None:
        (slots.slots_of(state, "kws") / "b" / slots.COMPLETE).unlink()
        assert self.started(record, state, path="x.null") == (["1.0.0"], [Reason.SLOT_DAMAGED])

    def test_the_configured_one_where_neither_is(self, record: Record, state: Path) -> None:
        shutil.rmtree(slots.slots_of(state, "kws"))
        assert self.started(record, state, path="x.null") == (["0"], [Reason.SLOT_DAMAGED] * 2)

    def test_a_manifest_that_cannot_be_read_is_no_release(self, record: Record, state: Path) -> None:
        (slots.slots_of(state, "kws") / "b" / "manifest.json").write_bytes(b"{")
        assert self.started(record, state, path="x.null") == (["1.0.0"], [Reason.SLOT_DAMAGED])

    def test_none_where_there_has_never_been_one(self, state: Path) -> None:
        assert self.started(Record(), state) == ([], [])

    def test_a_configured_bundle_is_unpacked_once(self, stored: Request, state: Path, tmp_path: Path) -> None:
        bundles = tmp_path / "mine.ekb"
        shutil.copy(BlobStore(state).path(str(stored("3.0.0").sha256)), bundles)
        assert self.started(Record(), state, bundle=str(bundles)) == (["3.0.0"], [])
        (folder,) = (slots.folder_of(state, "kws") / "configured").iterdir()
        before = folder.stat().st_mtime_ns
        assert self.started(Record(), state, bundle=str(bundles)) == (["3.0.0"], [])
        assert folder.stat().st_mtime_ns == before

    def test_a_configured_bundle_that_is_none_is_told(self, state: Path, tmp_path: Path) -> None:
        (tmp_path / "no.ekb").write_bytes(b"garbage")
        assert self.started(Record(), state, bundle=str(tmp_path / "no.ekb")) == ([], [Reason.BUNDLE_INVALID])


@pytest.mark.parametrize("name", ["..", ".", "a.b", "\u00e4 %", "x" * 64])
def test_every_name_of_a_model_has_a_folder_of_its_own_below_the_state(state: Path, name: str) -> None:
    folder = slots.folder_of(state, name)
    assert folder.parent == state / "models"
    assert folder.resolve().parent == (state / "models").resolve()
