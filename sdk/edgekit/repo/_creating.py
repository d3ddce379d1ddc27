"""Making a repository and its keys."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from securesystemslib.signer import Signer
from tuf.api.metadata import Root, Targets

from edgekit.errors import UsageError
from edgekit.repo._keys import ROLES, KeyFolder
from edgekit.repo._metadata import Repository, Validity, dated, signed_by
from edgekit.repo._publishing import Published, publish_signed

ONE = (1, 1)


def init(
    folder: Path,
    keys: KeyFolder,
    *,
    root: tuple[int, int] = ONE,
    targets: tuple[int, int] = ONE,
    validity: Validity = Validity(),
) -> Published:
    """Make a repository with new keys, and publish it empty.

    Args:
        folder: made where it is not there; all of it may go to a web server.
        keys: where the private keys go, outside `folder`; its folders `root` and `targets` are best taken off line.
        root: how many root keys must sign a root, and how many are made.
        targets: the same of the targets keys, which sign what is added.
        validity: for how long what is signed holds.

    Raises:
        UsageError: if there is a repository already, the keys would lie in it, or the numbers cannot be.
        OSError: if files cannot be written.
    """
    counts = MappingProxyType(dict.fromkeys(ROLES, ONE) | {"root": root, "targets": targets})
    for role, (threshold, made) in counts.items():
        if not 1 <= threshold <= made:
            raise UsageError(f"{threshold} of {made} {role} keys cannot sign")
    if keys.folder.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"the keys in '{keys.folder}' would be served with the repository '{folder}'")
    repository = Repository(folder)
    with repository.alone():
        if repository.next_version("root") > 1:
            raise UsageError(f"'{folder}' holds a repository already")
        repository.make_folders()
        first, signers = _first_root(keys, counts)
        dated(first, validity.offline)
        empty = Targets(version=1)
        dated(empty, validity.offline)
        signed_root = signed_by(first, signers["root"])
        repository.write("targets", signed_by(empty, signers["targets"]))
        repository.write("root", signed_root)
        return publish_signed(repository, signed_root, signers, validity)


def _first_root(keys: KeyFolder, counts: Mapping[str, tuple[int, int]]) -> tuple[Root, dict[str, Sequence[Signer]]]:
    root = Root(version=1, consistent_snapshot=True)
    signers: dict[str, Sequence[Signer]] = {}
    for role, (threshold, made) in counts.items():
        new = [keys.make(role) for _ in range(made)]
        for signer in new:
            root.add_key(signer.public_key, role)
        root.roles[role].threshold = threshold
        signers[role] = new
    return root, signers
