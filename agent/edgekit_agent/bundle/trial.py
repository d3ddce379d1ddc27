"""Golden vectors in a process of their own, as a job of the host: an artifact may take its process with it.

Requests: `{"make": {"model", "runtime", "threads", "inputs": "x.npz" | null, "runs", "seed", "folder"}}` runs a model
and writes golden vectors into the folder; `{"prove": {"folder", "device"}}` repeats those of an unpacked bundle. The
answer is what came of it (`golden.Made`, `golden.Proof`), or `{"error": {"kind", "message", "notes"}}`.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from edgekit_agent import feeds, runtimes
from edgekit_agent.bundle import golden
from edgekit_agent.bundle.fits import choose_runtime
from edgekit_agent.bundle.reading import read_folder
from edgekit_agent.errors import AgentError
from edgekit_agent.runtimes.base import Array, Session, TensorSpec


def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out a request and return the answer, both as the module says."""
    try:
        if "make" in request:
            return _make(**request["make"]).to_json()
        return prove(Path(request["prove"]["folder"]), request["prove"]["device"]).to_json()
    except AgentError as exc:
        notes = getattr(exc, "__notes__", [])
        return {"error": {"kind": type(exc).__name__, "message": str(exc), "notes": notes}}


def prove(folder: Path, device: str | None = None) -> golden.Proof:
    """Load the artifact of an unpacked bundle with the runtime it is for, and repeat its golden vectors.

    Args:
        folder: where it is unpacked.
        device: the runtime's device, in place of the manifest's.

    Raises:
        BundleError: if the folder holds no bundle, or the bundle is not for the runtimes that are here.
        RuntimeMissingError: if none of its runtimes is here.
        ModelError: if the artifact cannot be loaded.
    """
    manifest = read_folder(folder)
    wanted = choose_runtime(manifest.runtimes, str(manifest))
    with closing(
        _loaded(folder / manifest.artifact, wanted.name, manifest.threads, device or wanted.device)
    ) as session:
        return golden.prove(session, manifest, folder)


def _make(  # noqa: PLR0913  # a request's fields
    *,
    model: str,
    runtime: str,
    threads: int | None,
    inputs: str | None,
    runs: int,
    seed: int,
    folder: str,
) -> golden.Made:
    with closing(_loaded(Path(model), runtime, threads)) as session:
        return golden.make(session, _feeds(session.inputs, inputs, runs, seed), Path(folder))


def _loaded(model: Path, runtime: str, threads: int | None, device: str = "CPU") -> Session:
    return runtimes.choose(model, runtime).load(model, threads=threads or 1, device=device)


def _feeds(specs: Sequence[TensorSpec], inputs: str | None, runs: int, seed: int) -> Sequence[Sequence[Array]]:
    if inputs is None:
        return feeds.synthetic(specs, seed, runs)
    ordered = feeds.by_input(feeds.read_npz(Path(inputs)), specs, "the golden data")
    return list(feeds.runs(ordered, specs, "the golden data", feeds.batch_of(ordered, specs)))
