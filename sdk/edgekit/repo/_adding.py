"""Adding a bundle: its bytes under the name of their hash, its block index, and the signed entry that names both."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tuf.api.metadata import TargetFile, Targets

from edgekit.errors import DataError
from edgekit.repo._blocks import index_of
from edgekit.repo._keys import KeyFolder
from edgekit.repo._metadata import Repository, Validity, check_signatures, dated, role_signers, signed_by
from edgekit_agent.bundle import verify
from edgekit_agent.errors import BundleError, ProtocolError
from edgekit_agent.protocol import BlockIndex, IndexRef, Release, check_target, stored_as

_FIRST_ENTRY = b"manifest.json\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRelease:
    """What a bundle is a release of.

    `hardware` are the ids of the hardware it is for; none means any. `counter`, the release counter, is higher than
    that of other versions of the model; by default the next one.
    """

    name: str
    version: str
    hardware: tuple[str, ...] = ()
    counter: int | None = None

    @classmethod
    def of(
        cls,
        bundle: Path,
        *,
        name: str | None = None,
        version: str | None = None,
        hardware: tuple[str, ...] = (),
        counter: int | None = None,
    ) -> Self:
        """Return what is given, and the rest as the bundle's manifest says, every byte of the bundle checked.

        Raises:
            BundleError: if the bundle is damaged, or is another file and name or version are not given.
        """
        try:
            manifest = verify(bundle).manifest
        except BundleError:
            if name is None or version is None or _begins_as_a_bundle(bundle):
                raise
            return cls(name=name, version=version, hardware=hardware, counter=counter)
        return cls(
            name=name or manifest.model,
            version=version or manifest.version,
            hardware=hardware or manifest.hardware,
            counter=manifest.counter if counter is None else counter,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """A target that is signed; devices see it after the next `publish`."""

    target: str
    sha256: str
    length: int
    blocks: int
    release: Release

    def to_json(self) -> dict[str, object]:
        """Return the document of schema 1."""
        return {
            "schema": 1,
            "target": self.target,
            "sha256": self.sha256,
            "length": self.length,
            "blocks": self.blocks,
            "release": self.release.to_json(),
        }


def add(
    folder: Path,
    bundle: Path,
    keys: KeyFolder,
    wanted: NewRelease,
    validity: Validity = Validity(),
) -> Added:
    """Sign a bundle as a target; devices see it after `publish`. Adding the same again changes nothing.

    Args:
        folder: the repository.
        bundle: any file; the target is `<name>/<version>/<its name>`.
        keys: with enough of the targets keys.
        wanted: what it is a release of.
        validity: for how long the targets metadata holds.

    Raises:
        DataError: if the bundle cannot be read, a name is not one a target may have, the counter is too low, or the
            target is there with other content.
        EnvironmentMissingError: if keys are missing, or another process is changing the repository.
        OSError: if files cannot be written.
    """
    repository = Repository(folder)
    with repository.alone():
        root, targets = repository.root(), repository.targets().signed
        index, sha256 = _read(bundle)
        release = Release(
            model=wanted.name,
            version=wanted.version,
            release_counter=_counter(targets, wanted),
            hw_ids=wanted.hardware,
            blocks=IndexRef(sha256=hashlib.sha256(index.to_bytes()).hexdigest(), length=len(index.to_bytes())),
        )
        added = Added(
            target=f"{wanted.name}/{wanted.version}/{bundle.name}",
            sha256=sha256,
            length=index.length,
            blocks=len(index),
            release=release,
        )
        if _is_there(targets, added):
            return added
        signers = role_signers(keys, root, "targets")
        repository.store_target(bundle, stored_as(added.target, sha256), index)
        targets.targets[added.target] = TargetFile(
            length=added.length,
            hashes={"sha256": sha256},
            path=added.target,
            unrecognized_fields={"custom": release.to_json()},
        )
        targets.version = repository.next_version("targets")
        dated(targets, validity.offline)
        metadata = signed_by(targets, signers)
        check_signatures("targets", metadata, root)
        repository.write("targets", metadata)
        return added


def _begins_as_a_bundle(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_FIRST_ENTRY)) == _FIRST_ENTRY
    except OSError:
        return False


def releases(targets: Targets) -> dict[str, Release]:
    """Return what the signed metadata says of each target."""
    return {name: Release.from_json(target.custom) for name, target in targets.targets.items()}


def _read(bundle: Path) -> tuple[BlockIndex, str]:
    try:
        index = index_of(bundle)
        with bundle.open("rb") as file:
            return index, hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise DataError(f"cannot read '{bundle}': {exc.strerror}") from exc


def _is_there(targets: Targets, added: Added) -> bool:
    try:
        check_target(added.target)
        added.release.check()
    except ProtocolError as exc:
        raise DataError(str(exc)) from exc
    there = targets.targets.get(added.target)
    if there is None:
        return False
    if there.hashes.get("sha256") == added.sha256 and there.custom == added.release.to_json():
        return True
    error = DataError(f"'{added.target}' is in the repository with other content or another release")
    error.add_note("what devices may have is never changed: give it a new --version")
    raise error


def _counter(targets: Targets, wanted: NewRelease) -> int:
    """Return the release counter: variants of one version share it, and it grows from version to version."""
    mine = [one for one in releases(targets).values() if one.model == wanted.name]
    same = max((one.release_counter for one in mine if one.version == wanted.version), default=None)
    highest = max((one.release_counter for one in mine if one.version != wanted.version), default=0)
    if wanted.counter is None:
        return highest + 1 if same is None else same
    if same is not None and wanted.counter != same:
        raise DataError(
            f"'{wanted.name}' {wanted.version} has the release counter {same} already, not {wanted.counter}"
        )
    if same is None and wanted.counter <= highest:
        error = DataError(f"the release counter {wanted.counter} of '{wanted.name}' is not above {highest}")
        error.add_note("another version has that one; devices refuse a counter lower than what they have")
        raise error
    return wanted.counter
