"""Class numbers of files in folders named by their class."""

from collections.abc import Sequence
from pathlib import Path

from edgekit_agent.errors import InputDataError

MAX_LABELS_CHARS = 1 << 20


def read_classes(labels: str | None) -> tuple[str, ...]:
    """Return the lines of a file of class names, none without a file.

    Raises:
        InputDataError: if it cannot be read or is too large to be such a file.
    """
    if labels is None:
        return ()
    try:
        with Path(labels).open(encoding="utf-8") as file:
            text = file.read(MAX_LABELS_CHARS + 1)
    except (OSError, ValueError) as exc:
        raise InputDataError(f"labels '{labels}' cannot be read: {exc}") from exc
    if len(text) > MAX_LABELS_CHARS:
        raise InputDataError(f"labels '{labels}' are longer than {MAX_LABELS_CHARS} characters")
    return tuple(line.strip() for line in text.splitlines())


def class_numbers(root: Path, files: Sequence[Path], classes: Sequence[str]) -> list[int | None]:
    """Return each file's class: a number, a name of `classes`, or else counted in the folders' order.

    Raises:
        InputDataError: if a folder is none of the classes.
    """
    tops = [file.relative_to(root).parts[0] if file.parent != root and root.is_dir() else None for file in files]
    if None in tops:
        return [None] * len(files)
    names = sorted({str(top) for top in tops})
    if all(name.isdecimal() for name in names) and not set(names) <= set(classes):
        return [int(str(top)) for top in tops]
    for name in names:
        if classes and name not in classes:
            raise InputDataError(f"source '{root}': folder '{name}' is none of the classes in the model's labels")
    order = list(classes) or names
    return [order.index(str(top)) for top in tops]
