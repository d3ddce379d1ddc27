"""Golden vectors: inputs with the outputs an artifact gave for them, made on the host and repeated on the device."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit_agent.bundle.manifest import ITEM_BYTES, BundleFile, GoldenArray, Manifest, Tensor
from edgekit_agent.errors import AgentError, BundleError, InputDataError, ModelError
from edgekit_agent.protocol.codec import Message
from edgekit_agent.runtimes.base import Array, Session, TensorSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference(Message):
    """The largest difference of an output from its golden values, in real values, and what is allowed.

    `worst` is None where the output holds what is no number, or an infinity that is not golden.
    """

    output: str
    worst: float | None = None
    allowed: float
    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof(Message):
    """What came of the golden vectors; `reason` is empty where they passed."""

    passed: bool
    reason: str
    runtime: str
    executed_on: tuple[str, ...]
    runs: int
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Made(Message):
    """Golden vectors as they were made, in `files`; `spans` are the largest magnitudes of the outputs' real values."""

    runtime: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    golden_inputs: tuple[GoldenArray, ...]
    golden_outputs: tuple[GoldenArray, ...]
    files: tuple[BundleFile, ...]
    spans: Mapping[str, float]


def prove(session: Session, manifest: Manifest, folder: Path) -> Proof:
    """Run a loaded model on the golden inputs of an unpacked bundle and compare its outputs with the golden ones.

    Args:
        session: the artifact in `folder`, loaded by the runtime that is to serve it.
        manifest: of the bundle.
        folder: where it is unpacked; its files are taken to be verified.

    Returns:
        Also of a model that has other inputs or outputs, or fails: `reason` says so.

    Raises:
        OSError: if a golden file cannot be read.
    """
    worst: list[Difference] = []
    runs = manifest.golden.inputs[0].shape[0]
    try:
        reason = _other_ports(session, manifest)
        if not reason:
            worst = _differences(session, manifest, folder, runs)
            reason = _beyond(worst)
    except AgentError as exc:
        reason = f"the model fails on its golden inputs: {exc}"
    return Proof(
        passed=not reason,
        reason=reason,
        runtime=session.runtime,
        executed_on=tuple(session.executed_on),
        runs=runs,
        differences=tuple(worst),
    )


def make(session: Session, feeds: Sequence[Sequence[Array]], folder: Path) -> Made:
    """Run a model on inputs, each a run's, and write them with its outputs into `folder` as a bundle holds them.

    Raises:
        ModelError: if the model fails, or its outputs are no numbers or have other shapes from run to run.
        InputDataError: if the inputs have other shapes from run to run.
        OSError: if the files cannot be written.
    """
    import numpy as np

    from edgekit_agent.quantize import to_real

    # a runtime may reuse its output buffers: keep copies
    given = [[np.array(one) for one in session.invoke(list(feed))] for feed in feeds]
    real = [[to_real(run[at], spec) for run in given] for at, spec in enumerate(session.outputs)]
    taken = _stacked("input", session.inputs, feeds, InputDataError)
    gave = _stacked("output", session.outputs, given, ModelError)
    spans = {spec.name: max(map(_span, of_runs)) for spec, of_runs in zip(session.outputs, real, strict=True)}
    lost = [name for name, span in spans.items() if math.isnan(span)]
    if lost:
        raise ModelError(f"output '{lost[0]}' holds values that are not numbers on the golden inputs")
    inputs = [_written(folder, f"golden-input-{at}.raw", *one) for at, one in enumerate(_named(session.inputs, taken))]
    outputs = [
        _written(folder, f"golden-output-{at}.raw", *one) for at, one in enumerate(_named(session.outputs, gave))
    ]
    return Made(
        runtime=session.runtime,
        inputs=tuple(Tensor(**asdict(spec)) for spec in session.inputs),
        outputs=tuple(Tensor(**asdict(spec)) for spec in session.outputs),
        golden_inputs=tuple(array for array, _ in inputs),
        golden_outputs=tuple(array for array, _ in outputs),
        files=tuple(file for _, file in (*inputs, *outputs)),
        spans=spans,
    )


def read(folder: Path, arrays: Sequence[GoldenArray]) -> list["NDArray[np.generic]"]:
    """Return golden arrays of an unpacked bundle, each [runs, ...]."""
    import numpy as np

    found = []
    for one in arrays:
        data = (folder / one.file).read_bytes()
        if len(data) != one.size_bytes:
            raise BundleError(f"'{folder / one.file}' is damaged: it has {len(data)} bytes and not {one.size_bytes}")
        found.append(np.frombuffer(data, np.dtype(one.dtype).newbyteorder("<")).reshape(one.shape).astype(one.dtype))
    return found


def _differences(session: Session, manifest: Manifest, folder: Path, runs: int) -> list[Difference]:
    from edgekit_agent.quantize import to_real

    feeds, wanted = read(folder, manifest.golden.inputs), read(folder, manifest.golden.outputs)
    specs = [one.spec() for one in manifest.outputs]
    worst: dict[str, tuple[float, int]] = {}
    for run in range(runs):
        got = session.invoke([one[run] for one in feeds])
        for spec, one, golden in zip(specs, got, wanted, strict=True):
            if one.shape != golden.shape[1:]:
                raise ModelError(
                    f"output '{spec.name}' has shape {one.shape}, and its golden values {golden.shape[1:]}"
                )
            error = _largest(to_real(one, spec), to_real(golden[run], spec))
            if error > worst.get(spec.name, (-1.0, 0))[0]:
                worst[spec.name] = (error, run)
    allowed = manifest.golden.tolerance
    return [
        Difference(output=name, worst=error if math.isfinite(error) else None, allowed=allowed[name], run=run)
        for name, (error, run) in worst.items()
    ]


def _largest(got: Array, wanted: Array) -> float:
    """Return the largest difference: infinite where one is not a number; equal infinities do not differ."""
    import numpy as np

    one, other = got.astype(np.float64), wanted.astype(np.float64)
    apart = one != other
    error = np.abs(one[apart] - other[apart])
    return float(np.where(np.isnan(error), np.inf, error).max(initial=0.0))


def _span(real: Array) -> float:
    """Return the largest magnitude of finite values; not a number where one is not."""
    import numpy as np

    values = np.abs(real.astype(np.float64))
    return float("nan") if np.isnan(values).any() else float(values[np.isfinite(values)].max(initial=0.0))


def _beyond(differences: Sequence[Difference]) -> str:
    for one in differences:
        if one.worst is None:
            return f"output '{one.output}' holds values that are not numbers in run {one.run}"
        if one.worst > one.allowed:
            return (
                f"output '{one.output}' differs by {one.worst:.4g} from its golden values in run {one.run}, "
                f"more than the {one.allowed:.4g} allowed"
            )
    return ""


def _other_ports(session: Session, manifest: Manifest) -> str:
    for what, own, named in (
        ("input", session.inputs, manifest.inputs),
        ("output", session.outputs, manifest.outputs),
    ):
        if len(own) != len(named):
            return f"the model has {len(own)} {what}s and its manifest names {len(named)}"
        for spec, tensor in zip(own, named, strict=True):
            # shapes are proved by running: runtimes tell free dimensions differently
            if (spec.name, spec.dtype) != (tensor.name, tensor.dtype):
                here, there = f"'{spec.name}' ({spec.dtype})", f"'{tensor.name}' ({tensor.dtype})"
                return f"the model has {what} {here} where its manifest names {there}"
    return ""


def _stacked(
    what: str, specs: Sequence[TensorSpec], runs: Sequence[Sequence[Array]], kind: type[AgentError]
) -> list[Array]:
    import numpy as np

    stacked = []
    for spec, of_runs in zip(specs, zip(*runs, strict=True), strict=True):
        if spec.dtype not in ITEM_BYTES:
            raise kind(f"{what} '{spec.name}' is {spec.dtype}, and golden values are numbers")
        if len({one.shape for one in of_runs}) != 1:
            raise kind(f"{what} '{spec.name}' has another shape from run to run, so it has no golden values")
        stacked.append(np.stack(of_runs))
    return stacked


def _named(specs: Sequence[TensorSpec], arrays: Sequence[Array]) -> list[tuple[str, Array]]:
    return [(spec.name, array) for spec, array in zip(specs, arrays, strict=True)]


def _written(folder: Path, file: str, name: str, array: Array) -> tuple[GoldenArray, BundleFile]:
    data = array.astype(array.dtype.newbyteorder("<")).tobytes()
    (folder / file).write_bytes(data)
    described = GoldenArray(name=name, file=file, dtype=array.dtype.name, shape=array.shape)
    return described, BundleFile(name=file, role="golden", size=len(data), sha256=hashlib.sha256(data).hexdigest())
