"""Write a folder's files all or none: they are made beside and moved in when everything is done."""

import fcntl
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from edgekit.errors import EnvironmentMissingError

_PREFIX, _LOCK = ".edgekit-", ".lock"


class Staging:
    """A scratch folder inside `output`; `commit` moves its files over those of the same name.

    It is locked as long as its process lives: what a killed one left there goes with the next run.

    Leaving the `with` block without `commit` removes what was made, and `output` too when it was not there before.

    Raises:
        EnvironmentMissingError: on entering, if nothing can be written there.
    """

    def __init__(self, output: Path) -> None:
        """Name the folder; nothing is made before the `with` block."""
        self.output = output
        self.path = output / _PREFIX  # until there is one
        self._made: list[Path] = []

    def __enter__(self) -> Self:
        """Make the scratch folder, as `path`."""
        try:
            missing = [folder for folder in (self.output, *self.output.parents) if not folder.exists()]
            for folder in reversed(missing):
                folder.mkdir()
                self._made.append(folder)
            self._remove_left()
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self.output))
            self._lock = self.path.joinpath(_LOCK).open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        except OSError as exc:
            shutil.rmtree(self.path, ignore_errors=True)
            self._remove_made()
            error = EnvironmentMissingError(f"output folder '{self.output}' cannot be written: {exc.strerror}")
            error.add_note("name another folder with -o")
            raise error from exc
        return self

    def commit(self, replaced: Iterable[str] = ()) -> None:
        """Move every file to the output folder; a file there of the same name, or one of `replaced`, goes."""
        files = sorted(file for file in self.path.rglob("*") if file.is_file() and file.name != _LOCK)
        for file in files:
            target = self.output / file.relative_to(self.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)
        for name in replaced:
            (self.output / name).unlink(missing_ok=True)
        self._made.clear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the scratch folder and, after a failure, the folders made for it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()
        self._remove_made()

    def _remove_left(self) -> None:
        """Remove the scratch folders of runs that were killed: nobody holds their locks any more."""
        for lock in self.output.glob(f"{_PREFIX}*/{_LOCK}"):
            try:
                with lock.open() as opened:
                    fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(lock.parent, ignore_errors=True)
            except OSError:
                continue  # another run's, which is at work; or one that just ended

    def _remove_made(self) -> None:
        for folder in reversed(self._made):
            try:
                folder.rmdir()
            except OSError:
                return  # somebody else put something in
