"""`.csv`: columns of numbers become the samples, one of them the label."""

import csv
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit._data.dataset import LABELS, check_memory
from edgekit.errors import DataError
from edgekit_agent.errors import InputDataError
from edgekit_agent.preprocess import Column, Preprocess
from edgekit_converters.data import ONLY
from edgekit_converters.model import Array

LABEL_NAMES = ("y", "label", "labels", "class", "target", "score")
"""A header's column of one of these names is the label, where no other is asked for."""
_BYTES_OF_A_CELL = 4  # of memory for each byte of text: "1," becomes a float64


@dataclass(frozen=True, slots=True)
class _Table:
    path: Path
    header: tuple[str, ...]
    rows: Array

    def said(self, column: int) -> str:
        return f"column '{self.header[column]}'" if self.header else f"column {column} (counted from 0)"


def read(path: Path, how: Preprocess) -> dict[str, Array]:
    """Return `x` [N, columns] as float32 and, where there is a label, `y` [N].

    The first line is a header when a cell of it is no number. Cells are separated by commas, semicolons or tabs.

    Raises:
        DataError: if it cannot be read, a cell is no number, rows differ in length, or a column is not there.
    """
    check_memory(str(path), _BYTES_OF_A_CELL * path.stat().st_size)
    table = _parsed(path)
    label = _label(table, how)
    columns = [_place(table, one) for one in how.columns] or [
        place for place in range(table.rows.shape[1]) if place != label
    ]
    if not columns:
        raise DataError(f"data '{path}' has no column but the label")
    try:
        read = {ONLY: how.normalized(table.rows[:, columns], "columns")}
    except InputDataError as exc:
        raise DataError(str(exc)) from exc
    return read if label is None else {**read, LABELS: _labels(table.rows[:, label])}


def _labels(values: Array) -> Array:
    whole = np.isfinite(values).all() and (values == np.rint(values)).all()
    return values.astype(np.int64) if whole else values


def _label(table: _Table, how: Preprocess) -> int | None:
    if how.label is not None:
        return _place(table, how.label)
    named = [place for place, name in enumerate(table.header) if name.lower() in LABEL_NAMES]
    if len(named) > 1:
        error = DataError(
            f"data '{table.path}' has several columns that may be the label: "
            + ", ".join(table.header[place] for place in named)
        )
        error.add_note("choose it: --preprocess label=NAME")
        raise error
    return named[0] if named else None


def _place(table: _Table, column: Column) -> int:
    if column in table.header:
        return table.header.index(str(column))
    if isinstance(column, int) and column < table.rows.shape[1]:
        return column
    error = DataError(f"data '{table.path}' has no column {column!r}")
    error.add_note(f"it has: {', '.join(table.header) if table.header else f'0 to {table.rows.shape[1] - 1}'}")
    raise error


def _parsed(path: Path) -> _Table:
    cells, width = array("d"), 0
    header: tuple[str, ...] = ()
    for line, row in _rows(path):
        if not width:
            width = len(row)
            if not all(_is_number(cell) for cell in row):
                header = tuple(cell.strip() for cell in row)
                continue
        if len(row) != width:
            raise DataError(f"data '{path}' line {line} has {len(row)} cells where the first has {width}")
        try:
            cells.extend(map(float, row))
        except ValueError as exc:
            place = next(place for place, cell in enumerate(row) if not _is_number(cell))
            column = _Table(path, header, np.empty((0, width))).said(place)
            raise DataError(
                f"data '{path}' line {line}, {column} holds '{row[place][:40]}', which is no number"
            ) from exc
    if not cells:
        raise DataError(f"data '{path}' has no samples")
    return _Table(path, header, np.frombuffer(cells, np.float64).reshape(-1, width))


def _rows(path: Path) -> Iterator[tuple[int, Sequence[str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline(csv.field_size_limit())
            separator = max(",;\t", key=first.count)  # the comma where there is none
            file.seek(0)
            reader = csv.reader(file, delimiter=separator, strict=True)
            for row in reader:
                if any(cell.strip() for cell in row):
                    yield reader.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise DataError(f"data '{path}' is no table of text: {exc}") from exc


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
