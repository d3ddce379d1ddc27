"""What an update downloads, by how a file is cut into blocks: `python -m tests.benchmarks.bench_blocks`.

Two versions of real quantized TFLite models: the same network written by the same writer, with what a release changes.
A download is the blocks a device lacks, the index, and the headers of one request a run of neighbours. Bytes only:
nothing is timed.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.repo import _blocks
from edgekit_agent.protocol import BlockIndex

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
MODELS = (
    "kws-dscnn/kws_ref_model.tflite",
    "vww-mobilenet/vww_96_int8.tflite",
    "imagenet250/mobilenet_v2_1.0_224_quant.tflite",
)
REQUEST_BYTES = 500  # headers there and back
FIXED = tuple(1 << bits for bits in (11, 12, 13, 14, 15, 16))
CONTENT = tuple((1 << (bits - 1), 1 << (bits + 3), bits) for bits in (10, 11, 12, 13, 14))


def _open(path: Path) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(bytearray(path.read_bytes()), 0)


def _bytes(model: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _constants(model: Any, dtypes: tuple[int, ...]) -> list[Any]:
    """Return the tensors with content, of these types (TFLite's numbers), in the order of their use."""
    tensors = model.subgraphs[0].tensors
    used = [tensors[at] for op in model.subgraphs[0].operators for at in op.inputs if at >= 0]
    return [one for one in used if one.type in dtypes and model.buffers[one.buffer].data is not None]


def _requantized(model: Any, tensor: Any, rng: np.random.Generator, share: float) -> None:
    """Move a share of a tensor's values by one step, as training a little further does."""
    data = np.array(model.buffers[tensor.buffer].data, np.uint8)
    moved = rng.random(data.shape) < share
    data[moved] += rng.choice(np.array([1, 255], np.uint8), int(moved.sum()))
    model.buffers[tensor.buffer].data = data


def _calibrated_anew(model: Any, rng: np.random.Generator) -> None:
    """Other ranges of the activations: their scales change, and with them each bias, which is a multiple of them."""
    weights = {id(tensor) for tensor in _constants(model, (2, 3, 9))}
    for tensor in model.subgraphs[0].tensors:
        if tensor.quantization is not None and tensor.quantization.scale is not None and id(tensor) not in weights:
            tensor.quantization.scale = np.asarray(tensor.quantization.scale, np.float32) * np.float32(
                rng.uniform(0.97, 1.03)
            )
    for tensor in _constants(model, (2,)):
        bias = np.array(model.buffers[tensor.buffer].data, np.uint8).view(np.int32)
        scaled = np.rint(bias * rng.uniform(0.97, 1.03)).astype(np.int32)
        model.buffers[tensor.buffer].data = scaled.view(np.uint8)


def _head(model: Any, rng: np.random.Generator) -> None:
    _requantized(model, _constants(model, (3, 9))[-1], rng, 0.3)


def _all_layers(model: Any, rng: np.random.Generator) -> None:
    for tensor in _constants(model, (3, 9)):
        _requantized(model, tensor, rng, 0.05)


def _described(model: Any, _rng: np.random.Generator) -> None:
    model.description = b"a longer description: the offsets of the format's tables change"


def _nothing(_model: Any, _rng: np.random.Generator) -> None:
    pass


# What changes in the model, and the bytes that stand in front of it in the new bundle.
CHANGES: dict[str, tuple[Callable[[Any, np.random.Generator], None], bytes]] = {
    "700 bytes more in front": (_nothing, b"labels, " * 87 + b"more"),
    "a longer description": (_described, b""),
    "calibrated anew": (_calibrated_anew, b""),
    "last layer trained": (_head, b""),
    "all layers trained": (_all_layers, b""),
}


@contextmanager
def _cut_with(least: int, most: int, bits: int) -> Iterator[None]:
    """Cut with other sizes than the product's: only this page wants to."""
    before = _blocks.MIN_BYTES, _blocks.MAX_BYTES, _blocks._BITS
    _blocks.MIN_BYTES, _blocks.MAX_BYTES, _blocks._BITS = least, most, bits
    try:
        yield
    finally:
        _blocks.MIN_BYTES, _blocks.MAX_BYTES, _blocks._BITS = before


def _by_content(content: bytes, least: int, most: int, bits: int) -> BlockIndex:
    handle, name = tempfile.mkstemp()
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        with _cut_with(least, most, bits):
            return _blocks.index_of(Path(name))
    finally:
        Path(name).unlink()


def _by_size(content: bytes, size: int) -> BlockIndex:
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    return BlockIndex((len(piece), hashlib.sha256(piece).digest()) for piece in pieces)


def _download(old: BlockIndex, new: BlockIndex) -> int:
    """Return the bytes that come over the network."""
    have = {block.sha256 for block in old}
    lacking = [block.sha256 not in have for block in new]
    runs = sum(lack and not before for before, lack in zip([False, *lacking], lacking, strict=False))
    content = sum(block.length for block, lack in zip(new, lacking, strict=True) if lack)
    return content + len(new.to_bytes()) + REQUEST_BYTES * (runs + 1)


def main() -> None:
    """Print the tables."""
    ways: dict[str, Callable[[bytes], BlockIndex]] = {f"fixed {size >> 10} KiB": _fixed(size) for size in FIXED}
    ways |= {
        f"content {(least + (1 << bits)) / 1024:g} KiB": _content(least, most, bits) for least, most, bits in CONTENT
    }
    for name in MODELS:
        path = DATA / name
        old = _bytes(_open(path))
        print(f"\n{name}, {len(old):,} bytes; % of the file downloaded\n")
        print(f"| blocks | {' | '.join(CHANGES)} | index |\n|---|{'---|' * (len(CHANGES) + 1)}")
        for way, cut in ways.items():
            before = cut(old)
            row = []
            for change, in_front in CHANGES.values():
                model = _open(path)
                change(model, np.random.default_rng(0))
                row.append(f"{_download(before, cut(in_front + _bytes(model))) / len(old):.1%}")
            print(f"| {way} | {' | '.join(row)} | {len(before.to_bytes()) / len(old):.1%} |")


def _fixed(size: int) -> Callable[[bytes], BlockIndex]:
    return lambda content: _by_size(content, size)


def _content(least: int, most: int, bits: int) -> Callable[[bytes], BlockIndex]:
    return lambda content: _by_content(content, least, most, bits)


if __name__ == "__main__":
    main()
