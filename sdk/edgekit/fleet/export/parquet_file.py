"""Rows of the store as Parquet, one row group after another. Needs the extra `parquet`."""

import importlib.util
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from edgekit.errors import EnvironmentMissingError
from edgekit.fleet.export.columns import Column
from edgekit.fleet.store.history import HistoryRow

GROUP = 10_000  # rows


def check_parquet() -> None:
    """Check that the library is here.

    Raises:
        EnvironmentMissingError: if it is not.
    """
    if importlib.util.find_spec("pyarrow") is None:
        error = EnvironmentMissingError("a Parquet file needs pyarrow, which is not installed")
        error.add_note("pip install 'edgekit-sdk[parquet]', or take `edgekit fleet export csv`")
        raise error


def write_parquet(rows: Iterable[HistoryRow], columns: Sequence[Column], path: Path) -> int:
    """Write a file beside the path and rename it when it is whole; return how many rows.

    Raises:
        EnvironmentMissingError: if pyarrow is not installed.
    """
    check_parquet()
    import pyarrow as pa
    from pyarrow import parquet

    kinds: dict[str, Any] = {
        "text": pa.string(),
        "int": pa.int64(),
        "float": pa.float64(),
        "time": pa.timestamp("ms", tz="UTC"),
    }
    schema = pa.schema([(column.name, kinds[column.kind]) for column in columns])
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    count = 0
    try:
        with parquet.ParquetWriter(beside, schema, compression="zstd") as writer:
            for part in _parts(rows):
                arrays = [[column.read(row) for row in part] for column in columns]
                writer.write_batch(
                    pa.record_batch(
                        [pa.array(a, kinds[c.kind]) for a, c in zip(arrays, columns, strict=True)], schema=schema
                    )
                )
                count += len(part)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return count


def _parts(rows: Iterable[HistoryRow]) -> Iterator[list[HistoryRow]]:
    left = iter(rows)
    while part := list(islice(left, GROUP)):
        yield part
