"""Run and time models in a process of their own: `python -P -m edgekit_agent.measure request.json answer.json`.

Request: `{"models": [{"id", "path", "runtime", "threads", "device", "delegate", "delegate_options", "properties"}],
"inputs": "x.npz" | null, "outputs": "folder" | null, "stored", "runs", "warmup", "seed", "batch", "limit_s",
"streams", "streams_s"}`. Answer: `{"models": {id: {"runtime", "version", "executed_on", "operators", "inputs",
"outputs", "timing", "throughput", "load_ms", "peak_rss_bytes", "result"} | {"error": {"kind", "message"}}}}`, where
`result` is an `.npz` with the outputs [N, ...] by name: real values, but those named in `stored` as the model stores
them; `throughput` has a row for one stream and one for `streams`, where those are more, from `streams_s` seconds
each. One model's failure does not lose the others.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np

from edgekit_agent import bench, feeds, runtimes, streams
from edgekit_agent.errors import AgentError, ModelError
from edgekit_agent.quantize import to_real
from edgekit_agent.runtimes.base import CPU, Array, LoadOptions, Session, TensorSpec

DEFAULT_LIMIT_S = 120.0
DEFAULT_STREAMS_S = 2.0


def run(request: Mapping[str, Any], on_share: Callable[[float], None] = lambda _share: None) -> dict[str, Any]:
    """Carry out a request and return the answer, both as the module says; `on_share` is told how much is timed."""
    with ExitStack() as stack:  # a pipeline's stages end with their session
        return _run(request, stack, on_share)


def _run(request: Mapping[str, Any], stack: ExitStack, on_share: Callable[[float], None]) -> dict[str, Any]:
    given = feeds.read_npz(Path(request["inputs"])) if request.get("inputs") else None
    answers: dict[str, dict[str, Any]] = {}
    sessions: dict[str, Session] = {}
    inputs: dict[str, Sequence[Sequence[Array]]] = {}
    for model in request["models"]:
        key = model["id"]
        try:
            start = time.perf_counter()
            session = stack.enter_context(closing(_load(model, int(request.get("batch", 1)))))
            load_ms = 1000 * (time.perf_counter() - start)
            inputs[key] = _inputs(session, given, request)
            # a model that loads may still fail here: it must not take the others' timing with it
            session.invoke(inputs[key][0])
            answers[key] = _described(session, load_ms)
            if given is not None and request.get("outputs"):
                result = Path(request["outputs"], f"{key}.npz")
                stored = frozenset(request.get("stored", ()))
                answers[key]["result"] = _save(session, inputs[key], given, result, stored)
            sessions[key] = session
        except AgentError as exc:
            answers[key] = {"error": {"kind": type(exc).__name__, "message": str(exc)}}
    if request["runs"]:
        timings = bench.measure(
            sessions,
            inputs,
            runs=int(request["runs"]),
            warmup=int(request["warmup"]),
            limit_s=float(request.get("limit_s", DEFAULT_LIMIT_S)),
            on_share=on_share,
        )
        for key, timing in timings.items():
            answers[key]["timing"] = timing.to_json()
    if int(request.get("streams", 1)) > 1:
        for model in request["models"]:
            if model["id"] in sessions:
                _add_throughput(answers, model, inputs[model["id"]], request)
    return {"models": answers}


def _load(model: Mapping[str, Any], batch: int) -> Session:
    path = Path(model["path"])
    runtime = runtimes.choose(path, model.get("runtime", runtimes.AUTO))
    return runtime.load(path, _options(model, batch))


def _options(model: Mapping[str, Any], batch: int) -> LoadOptions:
    delegate = model.get("delegate")
    return LoadOptions(
        threads=int(model.get("threads", 1)),
        device=model.get("device", CPU),
        batch=batch,
        delegate=None if delegate is None else Path(delegate),
        delegate_options=model.get("delegate_options", {}),
        properties=model.get("properties", {}),
    )


def _add_throughput(
    answers: dict[str, dict[str, Any]],
    model: Mapping[str, Any],
    feed: Sequence[Sequence[Array]],
    request: Mapping[str, Any],
) -> None:
    path, key = Path(model["path"]), model["id"]
    runtime = runtimes.choose(path, model.get("runtime", runtimes.AUTO))
    options = _options(model, int(request.get("batch", 1)))
    pools: dict[str, list[Session]] = {}
    try:
        for count in (1, int(request["streams"])):
            pools[str(count)] = streams.load(runtime, path, count, options)
        found = streams.measure(pools, feed, seconds=float(request.get("streams_s", DEFAULT_STREAMS_S)))
        answers[key]["throughput"] = [one.to_json() for one in found.values()]
    except AgentError as exc:
        answers[key] = {"error": {"kind": type(exc).__name__, "message": str(exc)}}
    finally:
        for session in (one for sessions in pools.values() for one in sessions):
            session.close()


def _described(session: Session, load_ms: float) -> dict[str, Any]:
    name, _, version = session.runtime.rpartition(" ")
    return {
        "runtime": name,
        "version": version,
        "executed_on": list(session.executed_on),
        "operators": dict(session.operators),
        "inputs": [_spec(spec) for spec in session.inputs],
        "outputs": [_spec(spec) for spec in session.outputs],
        "load_ms": load_ms,
        # of the whole process: models loaded before count in
        "peak_rss_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "shape": list(spec.shape),
        "dtype": spec.dtype,
        "scale": list(spec.scale),
        "zero_point": list(spec.zero_point),
    }


def _inputs(
    session: Session, given: Mapping[str, Array] | None, request: Mapping[str, Any]
) -> Sequence[Sequence[Array]]:
    if given is None:
        return feeds.synthetic(session.inputs, int(request.get("seed", 0)))
    ordered = feeds.by_input(given, session.inputs, "the data")
    batch = feeds.batch_of(ordered, session.inputs, int(request.get("batch", 1)))
    return list(feeds.runs(ordered, session.inputs, "the data", batch))


def _save(
    session: Session,
    inputs: Sequence[Sequence[Array]],
    given: Mapping[str, Array],
    result: Path,
    stored: frozenset[str],
) -> str:
    """Write the outputs of every sample to an `.npz` and return its path."""
    count = len(next(iter(given.values())))
    batch = feeds.batch_of(feeds.by_input(given, session.inputs, "the data"), session.inputs, -(-count // len(inputs)))
    collected: list[list[Array]] = [[] for _ in session.outputs]
    for arrays in inputs:
        # a runtime may reuse its output buffers: keep copies
        for kept, output in zip(collected, session.invoke(arrays), strict=True):
            kept.append(np.array(output))
    joined = {spec: _joined(kept, count, batch) for spec, kept in zip(session.outputs, collected, strict=True)}
    named = {spec.name: made if spec.name in stored else to_real(made, spec) for spec, made in joined.items()}
    np.savez(result, **named)  # type: ignore[arg-type]  # no output is called allow_pickle
    return str(result)


def _joined(kept: Sequence[Array], count: int, batch: int) -> Array:
    """Join the runs' outputs along the samples; an output without a batch axis gets one."""
    batched = all(array.ndim and len(array) == batch for array in kept)
    try:
        return np.concatenate(kept)[:count] if batched else np.stack(kept)
    except ValueError as exc:
        raise ModelError("an output has another shape for every sample, so they cannot be held together") from exc


def main() -> None:
    """Read the request file, write the answer file."""
    asked, answered = sys.argv[1:3]
    answer = run(json.loads(Path(asked).read_text()))
    Path(answered).write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
