"""Rows of the store as CSV (RFC 4180, UTF-8), written as they are read."""

import csv
from collections.abc import Iterable, Sequence
from typing import TextIO

from edgekit.fleet.export.columns import Column, Value
from edgekit.fleet.store.history import HistoryRow

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_csv(rows: Iterable[HistoryRow], columns: Sequence[Column], out: TextIO) -> int:
    """Write a line a row below the columns' names; return how many.

    What is unknown is empty. Text of a device that a spreadsheet would run as a formula gets a quote in front.
    """
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    count = 0
    for row in rows:
        writer.writerow([_cell(column.read(row)) for column in columns])
        count += 1
    return count


def _cell(value: Value) -> Value:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return value
