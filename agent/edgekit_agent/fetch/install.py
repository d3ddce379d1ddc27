"""From a verified bundle to a complete slot: the step of an update that the fetch process does last."""

import hashlib
import shutil
from pathlib import Path

from edgekit_agent import bundle
from edgekit_agent.errors import BundleError, BundleUnfitError, RuntimeMissingError
from edgekit_agent.fetch import slots, wheel
from edgekit_agent.fetch.blobs import BlobStore
from edgekit_agent.fetch.errors import FetchError
from edgekit_agent.fetch.guards import alone, disk_full
from edgekit_agent.fetch.messages import FetchAnswer, FetchRequest
from edgekit_agent.protocol import Reason


def run(request: FetchRequest) -> FetchAnswer:
    """Verify a bundle of the store, look whether it is for this device, and unpack it into a slot.

    A slot that holds it already stays as it is, so this may be done again after a crash at any moment.

    Raises:
        FetchError: with the reason why not; the slot holds no model then.
        OSError: if the slot cannot be written.
    """
    if request.slot is None or request.sha256 is None:
        raise FetchError(Reason.COMMAND_REFUSED, "an installation names a slot and the bundle's SHA-256")
    with disk_full(), alone(Path(request.store)):
        _install(request, Path(request.slot), request.sha256)
    return FetchAnswer(status="ok", path=request.slot, sha256=request.sha256)


def _install(request: FetchRequest, slot: Path, sha256: str) -> None:
    if slots.marked(slot) == sha256:
        return
    slots.clear(slot)
    path = BlobStore(Path(request.store)).path(sha256)
    _check_whole(path, sha256)
    if request.model == slots.AGENT:
        _check_room(slot, path.stat().st_size * 5 + request.reserve_bytes)
        wheel.unpack(path, request.version, slot)
        slots.mark(slot, sha256)
        return
    try:
        manifest = bundle.read(path, request.max_bytes).manifest
        _check(manifest, request)
        _check_room(slot, manifest.size_bytes + request.reserve_bytes)
        bundle.unpack(path, slot, request.max_bytes)
    except BundleUnfitError as exc:
        raise FetchError(Reason.BUNDLE_UNFIT, str(exc)) from exc
    except BundleError as exc:
        raise FetchError(Reason.BUNDLE_INVALID, str(exc)) from exc
    except RuntimeMissingError as exc:
        raise FetchError(Reason.RUNTIME_MISSING, str(exc)) from exc
    slots.mark(slot, sha256)


def _check_whole(path: Path, sha256: str) -> None:
    """Look at every byte again: this may be long after the download, in another process."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as exc:
        raise FetchError(Reason.DOWNLOAD_DAMAGED, "the bundle is not in the store") from exc
    if found != sha256:
        raise FetchError(Reason.DOWNLOAD_DAMAGED, "the bundle in the store is not what was signed")


def _check(manifest: bundle.Manifest, request: FetchRequest) -> None:
    for what, announced, there in (
        ("model", request.model, manifest.model),
        ("version", request.version, manifest.version),
    ):
        if announced is not None and announced != there:
            raise FetchError(
                Reason.BUNDLE_INVALID, f"the bundle holds the {what} {there}, and is signed as {announced}"
            )
    try:
        bundle.check_hardware(manifest, request.hardware)
    except BundleUnfitError as exc:
        raise FetchError(Reason.HARDWARE_MISMATCH, str(exc)) from exc
    bundle.choose_runtime(manifest.runtimes, str(manifest))


def _check_room(slot: Path, needed: int) -> None:
    slot.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(slot.parent).free
    if free < needed:
        raise FetchError(Reason.DISK_FULL, f"{needed} bytes with the reserve are needed, {free} are free")
