"""Bundles for the tests, made by the agent's own writer, and their parts to be put together wrongly."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from edgekit_agent import bundle, feeds, runtimes
from edgekit_agent.bundle import Golden, GoldenArray, Manifest, RuntimeRange, Tensor, archive, golden
from edgekit_agent.bundle.parsing import DIGEST, MANIFEST, digest_text

Body = dict[str, Any]
END = bytes(1024)
SCRIPT = {
    "inputs": [{"name": "x", "shape": [-1, 4], "dtype": "float32"}],
    "outputs": [{"name": "y", "shape": [-1, 2], "dtype": "float32"}],
}


def plain(folder: Path, sizes: tuple[int, ...] = (5000, 700)) -> tuple[Manifest, dict[str, Path]]:
    """Write files that no runtime reads into a folder; return their manifest and where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    contents = {f"model.{suffix}": rng.bytes(size) for suffix, size in zip(("tflite", "more"), sizes, strict=False)}
    contents |= {"golden-input-0.raw": rng.bytes(3 * 4 * 4), "golden-output-0.raw": rng.bytes(3 * 2 * 4)}
    contents |= {"labels.txt": b"cat\ndog\n"}
    paths = {name: folder / name for name in contents}
    for name, data in contents.items():
        paths[name].write_bytes(data)
    roles = {"model": "artifact", "golden": "golden", "labels": "labels"}
    x = Tensor(name="x", dtype="float32", shape=(-1, 4))
    y = Tensor(name="y", dtype="float32", shape=(-1, 2))
    manifest = Manifest(
        schema=1,
        model="kws",
        version="1.2.0",
        counter=7,
        hardware=("raspberry-pi-4",),
        runtimes=(RuntimeRange(name="ai-edge-litert", versions=">=2,<3"),),
        artifact="model.tflite",
        precision="int8",
        inputs=(x,),
        outputs=(y,),
        preprocess={"mean": 127, "std": 128},
        postprocess={"kind": "classes", "top": 3, "threshold": 0.1},
        golden=Golden(
            made_with="ai-edge-litert 2.3.0",
            inputs=(GoldenArray(name="x", file="golden-input-0.raw", dtype="float32", shape=(3, 1, 4)),),
            outputs=(GoldenArray(name="y", file="golden-output-0.raw", dtype="float32", shape=(3, 1, 2)),),
            tolerance={"y": 0.25},
        ),
        files=tuple(_file(path, roles[name.partition(".")[0].partition("-")[0]]) for name, path in paths.items()),
    )
    return manifest, paths


def scripted(folder: Path, tolerance: float = 1e-6) -> Manifest:
    """Write an unpacked bundle of a model for the null runtime into a folder, with golden vectors it gives."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.null").write_text(json.dumps(SCRIPT))
    session = runtimes.get("null").load(folder / "model.null")
    feeds = [[np.full((1, 4), run, np.float32)] for run in range(3)]
    made = golden.make(session, feeds, folder)
    manifest = Manifest(
        schema=1,
        model="mean",
        version="0.1.0",
        counter=1,
        runtimes=(RuntimeRange(name="null"),),
        artifact="model.null",
        inputs=made.inputs,
        outputs=made.outputs,
        golden=Golden(
            made_with=made.runtime,
            inputs=made.golden_inputs,
            outputs=made.golden_outputs,
            tolerance={"y": tolerance},
        ),
        files=(_file(folder / "model.null", "artifact"), *made.files),
    )
    text = archive.manifest_text(manifest)
    (folder / MANIFEST).write_bytes(text)
    (folder / DIGEST).write_bytes(digest_text(text))
    return manifest


def release(  # noqa: PLR0913  # what releases differ by
    folder: Path,
    model: Path,
    runtime: str,
    version: str,
    counter: int,
    *,
    name: str = "kws",
    hardware: tuple[str, ...] = (),
    bounds: bundle.Bounds | None = None,
    wrong_by: float = 0.0,
    golden_of: Path | None = None,
) -> Path:
    """Write a bundle of a model that a runtime reads, with golden vectors it gives: or another, or wrong by some."""
    folder.mkdir(parents=True, exist_ok=True)
    artifact = folder / f"model{model.suffix}"
    artifact.write_bytes(model.read_bytes())
    with closing(runtimes.get(runtime).load(golden_of or artifact)) as session:
        made = golden.make(session, feeds.synthetic(session.inputs, 7, 3), folder)
    for array in made.golden_outputs if wrong_by else ():
        values = np.frombuffer((folder / array.file).read_bytes(), array.dtype)
        (folder / array.file).write_bytes((values + np.asarray(wrong_by, array.dtype)).astype(array.dtype).tobytes())
    names = (artifact.name, *(one.file for one in (*made.golden_inputs, *made.golden_outputs)))
    manifest = Manifest(
        schema=1,
        model=name,
        version=version,
        counter=counter,
        hardware=hardware,
        runtimes=(RuntimeRange(name=runtime),),
        artifact=artifact.name,
        inputs=made.inputs,
        outputs=made.outputs,
        golden=Golden(
            made_with=made.runtime,
            inputs=made.golden_inputs,
            outputs=made.golden_outputs,
            tolerance={one.name: 1e-3 for one in made.golden_outputs},
        ),
        bounds=bounds or bundle.Bounds(),
        files=tuple(_file(folder / one, "golden" if one.startswith("golden") else "artifact") for one in names),
    )
    target = folder.with_suffix(".ekb")
    target.write_bytes(b"".join(archive.write(manifest, {one: folder / one for one in names})))
    return target


def packed(folder: Path) -> bytes:
    """Return the bytes of a sound bundle, whose files are written into the folder."""
    return b"".join(archive.write(*plain(folder)))


def entries(data: bytes) -> list[tuple[bytes, bytes]]:
    """Take a bundle apart into entries and their bytes with the zeros behind them, by Python's own reader."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = tar.getmembers()
    ends = [one.offset for one in members[1:]] + [len(data) - len(END)]
    pairs = zip(members, ends, strict=True)
    return [(data[one.offset : one.offset_data], data[one.offset_data : end]) for one, end in pairs]


def joined(parts: list[tuple[bytes, bytes]], end: bytes = END) -> bytes:
    """Put entries together."""
    return b"".join(head + body for head, body in parts) + end


def with_manifest(data: bytes, change: Callable[[Body], object]) -> bytes:
    """Change a bundle's manifest and make its digest fit again."""
    parts = entries(data)
    body = json.loads(parts[0][1])
    change(body)
    return with_text(data, json.dumps(body).encode())


def with_text(data: bytes, text: bytes) -> bytes:
    """Put other text in a manifest's place and make its digest fit."""
    line = digest_text(text)
    head = [(archive.entry(name, len(one)), padded(one)) for name, one in ((MANIFEST, text), (DIGEST, line))]
    return joined([*head, *entries(data)[2:]])


def padded(data: bytes) -> bytes:
    """Fill up to whole blocks."""
    return data + bytes(-len(data) % 512)


def foreign(name: str, size: int = 0, **fields: Any) -> bytes:
    """Return an entry as others write it, by Python's own writer."""
    told = tarfile.TarInfo(name)
    told.size = size
    for key, value in fields.items():
        setattr(told, key, value)
    return told.tobuf(tarfile.USTAR_FORMAT)


def contents(folder: Path) -> dict[str, bytes]:
    """Return what lies in a folder, by name."""
    return {one.name: one.read_bytes() for one in folder.iterdir()}


def _file(path: Path, role: str) -> bundle.BundleFile:
    data = path.read_bytes()
    return bundle.BundleFile(name=path.name, role=role, size=len(data), sha256=hashlib.sha256(data).hexdigest())
