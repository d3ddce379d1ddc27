"""Packed files: byte for byte what went in, and every broken one refused in a sentence."""

import json
import lzma
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit_agent.errors import ModelError
from edgekit_agent.packing import pack, unpack
from edgekit_agent.palettes import CHUNK, STREAMS, joined
from edgekit_agent.splitting import split
from edgekit_agent.unpacking import unpack_file

COUNT = 20_000


def _floats(kind: str, seed: int = 0) -> bytes:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=COUNT).astype(np.float32)
    if kind.startswith("sparse"):
        values[rng.random(COUNT) < float(kind[6:])] = 0
    if kind.startswith("shared"):
        table = np.quantile(values, np.linspace(0.01, 0.99, int(kind[6:]))).astype(np.float32)
        values = table[np.abs(values[:, None] - table).argmin(axis=1)]
    return values.astype(np.float16).tobytes() if kind == "half" else values.tobytes()


def _least(kind: str) -> float:
    """Return about the bytes that the values' own entropy asks for."""
    if kind.startswith("sparse"):
        zero = float(kind[6:])
        mask = -(zero * np.log2(zero) + (1 - zero) * np.log2(1 - zero))
        return float(COUNT * (mask + (1 - zero) * 26.6) / 8)
    return float(COUNT * np.log2(int(kind[6:])) / 8)


@pytest.mark.parametrize("kind", ["sparse0.5", "sparse0.9", "shared16", "shared200"])
@pytest.mark.parametrize("shift", [0, 1, 3])
def test_few_values_and_zeros_come_close_to_their_entropy_wherever_they_begin(kind: str, shift: int) -> None:
    data = bytes(range(shift)) + _floats(kind)
    packed = pack({"w": data})
    assert unpack(packed) == {"w": data}
    assert len(packed) < 1.08 * _least(kind) + 1500
    assert len(packed) < 0.93 * len(lzma.compress(data, preset=9))


@pytest.mark.parametrize("kind", ["dense", "half"])
def test_dense_floats_are_never_larger_than_xz_makes_them(kind: str) -> None:
    data = _floats(kind)
    packed = pack({"w": data})
    assert unpack(packed) == {"w": data}
    assert len(packed) < len(lzma.compress(data, preset=9))


def test_several_files_keep_their_names_order_and_bytes_and_pack_alike_twice() -> None:
    files = {"net.xml": b"<net/>" * 999, "net.bin": _floats("shared16"), "empty": b""}
    packed = pack(files)
    assert list(unpack(packed).items()) == list(files.items())
    assert pack(files) == packed


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["noise", "few", "zeros", "text"]), st.integers(0, 700)), max_size=8))
def test_any_bytes_come_back(parts: list[tuple[str, int]]) -> None:
    rng = np.random.default_rng(len(parts))
    made: dict[str, Callable[[int], bytes]] = {
        "noise": rng.bytes,
        "few": lambda size: rng.choice(np.array([7, 9, 123456789], np.uint32), size).tobytes(),
        "zeros": bytes,
        "text": lambda size: b"layer/weights:0;" * size,
    }
    data = b"".join(made[kind](size) for kind, size in parts)
    assert unpack(pack({"x": data})) == {"x": data}
    assert joined(split(data), len(data)) == data


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3])
def test_every_length_comes_back(size: int) -> None:
    data = np.random.default_rng(size).choice(np.array([0, 5], np.uint8), size).tobytes()
    assert unpack(pack({"x": data})) == {"x": data}
    assert joined(split(data), size) == data


Head = dict[str, Any]


def _changed(packed: bytes, change: Callable[[Head], object]) -> bytes:
    magic, schema, size = struct.unpack_from("<4sHI", packed)
    header = json.loads(packed[10 : 10 + size])
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<4sHI", magic, schema, len(text)) + text + packed[10 + size :]


def _set(key: str, place: int | str, value: object, field: str | None = None) -> Callable[[Head], object]:
    def change(header: Head) -> None:
        target = header[key][place] if field is not None else header[key]
        target[place if field is None else field] = value

    return change


def _longer(header: Head) -> None:
    header["files"][0]["size"] += 1


def _swollen(header: Head) -> None:
    name = next(iter(header["streams"]))
    header["streams"][name][0] = 2**40


BAD_HEADERS: dict[str, tuple[Callable[[Head], object], str]] = {
    "a path": (_set("files", 0, "../evil", "name"), "plain names"),
    "hidden": (_set("files", 0, ".bashrc", "name"), "plain names"),
    "no text": (_set("files", 0, 7, "name"), "plain names"),
    "absolute": (_set("files", 0, "/etc/passwd", "name"), "plain names"),
    "negative": (_set("files", 0, -1, "size"), "no sizes"),
    "text": (_set("files", 0, "10", "size"), "no sizes"),
    "bomb": (_set("files", 0, 2**50, "size"), "are larger together than"),
    "longer": (_longer, "damaged"),
    "swollen": (_swollen, "streams are longer than its files"),
    "no files": (lambda header: header.update(files=[]), "holds 1 to 64 files"),
    "no list": (lambda header: header.update(files="x"), "no list of files"),
    "no streams": (lambda header: header.update(streams=[]), "not the streams"),
    "a stranger": (lambda header: header["streams"].update(more=[1, 1, "stored"]), "not the streams"),
    "no sizes": (lambda header: header["streams"].update(bytes=["a", 1, "stored"]), "does not say how long"),
    "a coder": (lambda header: header["streams"].update(bytes=[0, 0, "zip"]), "unknown coder"),
    "other digest": (_set("files", 0, "0" * 64, "sha256"), "'w' is not what was packed"),
}


@pytest.mark.parametrize(("change", "why"), BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_headers_that_lie_are_refused(change: Callable[[Head], object], why: str) -> None:
    packed = pack({"w": _floats("shared16")})
    with pytest.raises(ModelError, match=why):
        unpack(_changed(packed, change))


def test_other_files_newer_schemas_and_truncated_ones_are_refused() -> None:
    packed = pack({"w": _floats("sparse0.5")})
    with pytest.raises(ModelError, match="mark 'EKPK'"):
        unpack(b"TFL3" + packed)
    with pytest.raises(ModelError, match="schema 2; this version reads 1"):
        unpack(packed[:4] + b"\x02\x00" + packed[6:])
    for size in (0, 5, 10, 60, len(packed) // 2, len(packed) - 1):
        with pytest.raises(ModelError):
            unpack(packed[:size])
    with pytest.raises(ModelError, match="not all there"):
        unpack(packed + b"x")


def test_a_bomb_is_refused_before_it_takes_memory() -> None:
    packed = pack({"w": bytes(3_000_000)})
    assert len(packed) < 10_000
    tracemalloc.start()
    with pytest.raises(ModelError, match="larger together than 1000000 bytes"):
        unpack(packed, most_bytes=1_000_000)
    small = _changed(packed, _set("files", 0, 1000, "size"))
    with pytest.raises(ModelError, match="streams are longer than its files"):
        unpack(small, most_bytes=1_000_000)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_random_damage_never_gives_other_bytes_nor_another_error() -> None:
    rng = np.random.default_rng(0)
    files = {"a": _floats("shared16")[:9000], "b": b"text " * 300, "c": _floats("sparse0.5")[:9000]}
    packed = pack(files)
    refused = 0
    for _ in range(200):
        broken = bytearray(packed)
        for _ in range(int(rng.integers(1, 5))):
            broken[int(rng.integers(len(broken)))] ^= 1 << int(rng.integers(8))
        try:
            assert unpack(bytes(broken)) == files
        except ModelError:
            refused += 1
    assert refused > 190


def test_random_streams_never_end_in_another_error() -> None:
    rng = np.random.default_rng(1)
    for _ in range(500):
        streams = {name: rng.bytes(int(rng.integers(40))) for name in STREAMS}
        streams["forms"] = bytes(rng.choice([0, 1, 2, 3, 4, 7, 8, 10, 14, 255], 30).astype(np.uint8))
        with pytest.raises(ModelError, match="damaged"):
            joined(streams, int(rng.integers(1, 300)))


def test_names_that_are_paths_are_not_packed() -> None:
    with pytest.raises(ModelError, match="plain names"):
        pack({"a/b": b""})
    with pytest.raises(ModelError, match="1 to 64 files"):
        pack({})


def test_files_are_written_whole_and_others_are_not_replaced(tmp_path: Path) -> None:
    packed = tmp_path / "m.ekpk"
    packed.write_bytes(pack({"m.xml": b"x", "m.bin": b"y" * 100}))
    out = tmp_path / "out"
    assert unpack_file(packed, out) == (out / "m.xml", out / "m.bin")
    assert unpack_file(packed, out) == (out / "m.xml", out / "m.bin")  # the same again
    (out / "m.bin").write_bytes(b"other")
    (out / "m.xml").unlink()
    with pytest.raises(ModelError, match="is there already and is not what was packed"):
        unpack_file(packed, out)
    assert not (out / "m.xml").exists()
    assert (out / "m.bin").read_bytes() == b"other"
    with pytest.raises(ModelError, match="cannot read"):
        unpack_file(tmp_path / "none", out)
    with pytest.raises(ModelError, match="larger than 10 bytes"):
        unpack_file(packed, out, most_bytes=10)
