"""Files packed for transport without loss: `EKPK`, schema number, a JSON header, and streams for a range coder.

A device unpacks with the standard library and NumPy. Each stream has the coder that makes it smallest: deflate's
Huffman codes, or LZMA's range coder with or without contexts. Sizes are compared with limits before anything is made of
them; what comes out is compared with its SHA-256.

    "EKPK" | schema u16 | header bytes u32 | header | streams in the order of `palettes.STREAMS`
    header: {"files": [{"name", "size", "sha256"}], "streams": {name: [size, packed size, coder]}}; empty ones left out
"""

import hashlib
import json
import lzma
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from edgekit_agent.errors import ModelError
from edgekit_agent.palettes import CHUNK, STREAMS, joined
from edgekit_agent.splitting import split

SCHEMA = 1
MAGIC = b"EKPK"
MOST_BYTES = 1 << 31
"""What files may be together, unless the caller says otherwise."""

_HEAD = struct.Struct("<4sHI")
_MOST_HEADER = 1 << 16
_MOST_FILES = 64
_MOST_NAME = 255
_SMALLEST_DICTIONARY, _LARGEST_DICTIONARY = 1 << 16, 1 << 26
_STORED, _HUFFMAN = "stored", "huffman"
_CONTEXTS = MappingProxyType({"lzma": 3, "lzma-bytes": 0})
"""Bits of the byte before that the range coder looks at: text, and bytes without an order."""
_CODERS = (_STORED, _HUFFMAN, *_CONTEXTS)
_TRIED = 1 << 18


@dataclass(frozen=True, slots=True)
class _Stream:
    """What the header says of a stream."""

    size: int
    packed: int
    coder: str


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return files by name as one packed file; the same files give the same bytes.

    Raises:
        ModelError: if there are too many or too large files, or a name is a path.
    """
    _check_files([{"name": name, "size": len(data)} for name, data in files.items()], MOST_BYTES)
    whole = b"".join(files.values())
    best = min((_coded(streams) for streams in (_plain(whole), split(whole))), key=lambda one: sum(map(len, one[1])))
    header = {
        "files": [
            {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in files.items()
        ],
        "streams": best[0],
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    return b"".join((_HEAD.pack(MAGIC, SCHEMA, len(text)), text, *best[1]))


def unpack(data: bytes, most_bytes: int = MOST_BYTES) -> dict[str, bytes]:
    """Return the files of a packed file by name, each byte for byte what was packed.

    Args:
        data: the packed file.
        most_bytes: what the files may be together.

    Raises:
        ModelError: if it is no packed file, of a newer schema, truncated, damaged, or holds more than `most_bytes`.
    """
    header, at = _header(data)
    files = _files(header)
    _check_files(files, most_bytes)
    size = sum(one["size"] for one in files)
    found = dict.fromkeys(STREAMS, b"")
    for name, stream in _streams(header, size, len(data) - at):
        found[name] = _decoded(data[at : at + stream.packed], stream)
        at += stream.packed
    whole, at, out = joined(found, size), 0, {}
    for one in files:
        part = whole[at : at + one["size"]]
        at += one["size"]
        if hashlib.sha256(part).hexdigest() != one.get("sha256"):
            raise ModelError(f"the packed file is damaged: '{one['name']}' is not what was packed")
        out[one["name"]] = part
    return out


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    if len(data) < _HEAD.size or not data.startswith(MAGIC):
        raise ModelError("it is no packed file: it does not carry the mark 'EKPK'")
    _, schema, size = _HEAD.unpack_from(data)
    if schema != SCHEMA:
        error = ModelError(f"the packed file has schema {schema}; this version reads {SCHEMA}")
        error.add_note("update EdgeKit here, or pack it with the same version")
        raise error
    if size > min(_MOST_HEADER, len(data) - _HEAD.size):
        raise ModelError("the packed file is truncated or damaged: its header does not fit in it")
    end = _HEAD.size + size
    try:
        header = json.loads(data[_HEAD.size : end])
    except (ValueError, RecursionError) as exc:
        raise ModelError("the packed file is damaged: its header is no JSON") from exc
    if not isinstance(header, dict):
        raise ModelError("the packed file is damaged: its header is no table")
    return header, end


def _files(header: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = header.get("files")
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ModelError("the packed file is damaged: its header has no list of files")
    return found


def _check_files(files: list[dict[str, Any]], most_bytes: int) -> None:
    names = [one.get("name") for one in files]
    if not files or len(files) > _MOST_FILES or len(set(map(str, names))) != len(names):
        raise ModelError(f"a packed file holds 1 to {_MOST_FILES} files of different names, not {len(files)}")
    for name in names:
        if not isinstance(name, str) or not _is_plain(name):
            raise ModelError(f"a packed file holds files by plain names, not {json.dumps(name)[:_MOST_NAME]}")
    sizes = [one.get("size") for one in files]
    if not all(_is_size(one) for one in sizes) or sum(sizes) > most_bytes:  # type: ignore[arg-type]  # they are sizes
        raise ModelError(f"its files are larger together than {most_bytes} bytes, or have no sizes")


def _is_plain(name: str) -> bool:
    printable = name.isprintable() and not set(name) & set('/\\:*?"<>|')
    return 0 < len(name.encode("utf-8", "replace")) <= _MOST_NAME and printable and not name.startswith(".")


def _is_size(value: object) -> bool:
    return type(value) is int and value >= 0


def _streams(header: Mapping[str, Any], size: int, there: int) -> list[tuple[str, _Stream]]:
    """Return the streams in their order; `size` are the bytes of all files, `there` those behind the header."""
    found = header.get("streams")
    if not isinstance(found, dict) or not set(found) <= set(STREAMS):
        raise ModelError("the packed file is damaged: its header has not the streams of its schema")
    streams = []
    for name in (one for one in STREAMS if one in found):
        match found[name]:
            case [int() as unpacked, int() as packed, str() as coder] if unpacked >= 0 and packed >= 0:
                streams.append((name, _Stream(unpacked, packed, coder)))
            case _:
                raise ModelError(f"the packed file is damaged: its header does not say how long '{name}' is")
    if sum(one.packed for _, one in streams) != there:
        raise ModelError("the packed file is truncated or damaged: its streams are not all there")
    # every byte of a file stands in one stream, and a word's code in another
    if sum(one.size for _, one in streams) > 2 * size + _MOST_HEADER:
        raise ModelError("the packed file is damaged: its streams are longer than its files")
    return streams


def _plain(data: bytes) -> dict[str, bytes]:
    """Return the streams of data that are nothing but bytes: the layout `split` falls back to, a chunk a block."""
    chunks = -(-len(data) // CHUNK)
    return {name: bytes((1, 0)) * chunks if name == "forms" else data if name == "bytes" else b"" for name in STREAMS}


def _coded(streams: Mapping[str, bytes]) -> tuple[dict[str, tuple[int, int, str]], list[bytes]]:
    """Return the header's entries and the packed streams, each by the coder that makes its beginning smallest."""
    headers, packed = {}, []
    for name, data in streams.items():
        if not data:
            continue
        some = data[:_TRIED]
        coder = min(_CODERS, key=lambda one: len(_encoded(some, one)))
        small = _encoded(data, coder)
        if len(small) >= len(data):
            coder, small = _STORED, data
        headers[name] = (len(data), len(small), coder)
        packed.append(small)
    return headers, packed


def _encoded(data: bytes, coder: str) -> bytes:
    if coder == _STORED:
        return data
    return _huffman(data) if coder == _HUFFMAN else _lzma(data, coder)


def _huffman(data: bytes) -> bytes:
    coder = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_HUFFMAN_ONLY)
    return coder.compress(data) + coder.flush()


def _lzma(data: bytes, coder: str) -> bytes:
    return lzma.compress(data, lzma.FORMAT_RAW, filters=[_filter(coder, len(data))])


def _decoded(data: bytes, stream: _Stream) -> bytes:
    """Return a stream; no more than the size it says is ever made."""
    decoder: Any  # what the two libraries have in common has no name
    if stream.coder == _STORED:
        out, whole = data, True
    elif stream.coder == _HUFFMAN or stream.coder in _CONTEXTS:
        if stream.coder == _HUFFMAN:
            decoder = zlib.decompressobj(-zlib.MAX_WBITS)
        else:
            decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[_filter(stream.coder, stream.size)])
        try:
            out = decoder.decompress(data, max_length=stream.size + 1)
        except (lzma.LZMAError, zlib.error) as exc:
            raise ModelError("the packed file is damaged: a stream cannot be decoded") from exc
        whole = decoder.eof and not decoder.unused_data
    else:
        raise ModelError("the packed file is damaged: a stream has an unknown coder")
    if len(out) != stream.size or not whole:
        raise ModelError("the packed file is damaged: a stream has not the size it says")
    return out


def _filter(coder: str, size: int) -> dict[str, int]:
    """Return the filter for a stream of a size, which alone decides on the memory it takes."""
    dictionary = min(max(1 << size.bit_length(), _SMALLEST_DICTIONARY), _LARGEST_DICTIONARY)
    return {"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": dictionary, "lc": _CONTEXTS[coder], "lp": 0, "pb": 0}
