"""Golden vectors in a process of their own, as a job of the host: an artifact may take its process with it.

Requests: `{"make": {"model", "runtime", "threads", "inputs": "x.npz" | null, "runs", "seed", "folder"}}` runs a model
and writes golden vectors into the folder; `{"prove": {"folder", "device"}}` repeats those of an unpacked bundle;
`{"observe": {"model", "runtime", "threads", "inputs", "softmax"}}` tells what inputs and answers are like. The answer
is what came of it (`golden.Made`, `golden.Proof`, `baseline.Baseline`), or `{"error": {"kind", "message", "notes"}}`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from edgekit_agent import feeds, runtimes
from edgekit_agent.baseline import Baseline, baseline_of
from edgekit_agent.bundle import golden
from edgekit_agent.bundle.fits import choose_runtime
from edgekit_agent.bundle.reading import read_folder
from edgekit_agent.errors import AgentError, InputDataError
from edgekit_agent.runtimes.base import Array, LoadOptions, Session, TensorSpec

MOST_OBSERVED = 2000
"""Samples of a baseline: enough for means and shares, and soon done."""


def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out a request and return the answer, both as the module says."""
    try:
        if "make" in request:
            return _make(**request["make"]).to_json()
        if "observe" in request:
            return _observe(**request["observe"]).to_json()
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


def _observe(*, model: str, runtime: str, threads: int | None, inputs: str, softmax: bool) -> Baseline:
    """Run samples, evenly taken where there are many, and return what a device sees drift against."""
    from edgekit_agent.observing import Observer, classifying, top_classes

    with closing(_loaded(Path(model), runtime, threads)) as session:
        ordered = feeds.by_input(feeds.read_npz(Path(inputs)), session.inputs, "the baseline")
        ordered = [array[:: -(-len(array) // MOST_OBSERVED)] for array in ordered]
        batch = feeds.batch_of(ordered, session.inputs)
        observer, scores = Observer(session.inputs, session.outputs, softmax=softmax), classifying(session.outputs)
        classes: Counter[str] = Counter()
        for arrays in feeds.runs(ordered, session.inputs, "the baseline", batch):
            outputs = session.invoke(arrays)
            observer.observe(arrays, outputs)
            if scores is not None:
                classes.update(map(str, top_classes(outputs[scores], session.outputs[scores])))
        for name in sorted(observer.broken):
            raise InputDataError(f"the baseline of input '{name}' holds values that are not numbers")
        return baseline_of({**observer.take(), "top1": classes})


def _loaded(model: Path, runtime: str, threads: int | None, device: str = "CPU") -> Session:
    return runtimes.choose(model, runtime).load(model, LoadOptions(threads=threads or 1, device=device))


def _feeds(specs: Sequence[TensorSpec], inputs: str | None, runs: int, seed: int) -> Sequence[Sequence[Array]]:
    if inputs is None:
        return feeds.synthetic(specs, seed, runs)
    ordered = feeds.by_input(feeds.read_npz(Path(inputs)), specs, "the golden data")
    return list(feeds.runs(ordered, specs, "the golden data", feeds.batch_of(ordered, specs)))
