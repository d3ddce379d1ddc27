"""`edgekit.bundle`: an artifact with all a device needs to prove and run it, in one file."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekit import _bundle_parts as parts
from edgekit import _data
from edgekit._bundle_options import BundleOptions
from edgekit._options import ConvertOptions
from edgekit._travelled import beside
from edgekit.errors import DataError
from edgekit_agent import bundle as bundles
from edgekit_agent import errors
from edgekit_agent.baseline import Baseline
from edgekit_agent.bundle import Bundle, Manifest
from edgekit_agent.bundle.archive import manifest_text
from edgekit_agent.bundle.golden import Made, Proof
from edgekit_agent.bundle.parsing import DIGEST, MANIFEST, digest_text
from edgekit_agent.durable import write_durably
from edgekit_agent.errors import AgentError, BundleError, ModelError
from edgekit_converters.jobs import JobRunner
from edgekit_converters.model import Arrays

SAMPLES = 8
MOST_SAMPLES = 64
_TRIAL = "edgekit_agent.bundle.trial"
_HERE = "CPU"
"""Where golden outputs are made: the device they are for need not be here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A bundle of which every byte is sound, and what came of its golden vectors where they were run."""

    bundle: Bundle
    proof: Proof | None = None

    def to_json(self) -> dict[str, object]:
        """Return the document of schema 1."""
        return {**described(self.bundle), "proof": self.proof.to_json() if self.proof else None}


def bundle(artifact: str | Path, options: BundleOptions, output: str | Path | None = None) -> Bundle:
    """Write a bundle of an artifact; the same artifact and options give the same bytes.

    Precision, preprocessing, class names and the report are taken from the `report.json` of the conversion that made
    the artifact, where it lies beside. The golden outputs are the artifact's own, run here, and then run once more.

    Args:
        artifact: `.tflite`, `.xml` with its `.bin`, `.onnx`, or `.pipeline` with its stages.
        options: what is to be said of it.
        output: by default beside the artifact, with `.ekb` behind its name.

    Raises:
        UsageError: if an option is wrong.
        DataError: if a file cannot be read, or the golden data does not fit.
        AgentError: if the artifact cannot be run here, or does not give the same when it is run again.
        JobCrashedError: if it ended the process that ran it.
        OSError: if the bundle cannot be written.
    """
    path = Path(artifact)
    how = ConvertOptions(preprocess=options.preprocess or beside(path).preprocess).how_images_are_read
    golden, baseline = (_data.load(one, how).arrays if one else None for one in (options.golden, options.baseline))
    target = Path(output) if output else path.with_name(path.name + bundles.SUFFIX)
    return write(path, options, target, golden, baseline)


def show_bundle(path: str | Path) -> Bundle:
    """Return what a bundle says, without checking its files.

    Raises:
        BundleError: naming what is wrong.
    """
    return bundles.read(Path(path))


def verify_bundle(path: str | Path, *, run: bool = False, device: str | None = None) -> Verified:
    """Check every byte of a bundle; with `run` also run its golden vectors here.

    Args:
        path: the bundle.
        run: whether to run the artifact.
        device: of the runtime, in place of the manifest's.

    Raises:
        BundleError: naming what is wrong.
        RuntimeMissingError: if it is to be run and none of its runtimes is here.
        ModelError: if it cannot be loaded.
        JobCrashedError: if it ended the process that ran it.
    """
    if not run:
        return Verified(bundle=bundles.verify(Path(path)))
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        there = Path(scratch, "bundle")
        found = bundles.unpack(Path(path), there)
        return Verified(bundle=found, proof=_prove(there, device, JobRunner(log=Path(scratch, "run.log"))))


def described(one: Bundle) -> dict[str, object]:
    """Return what is known of a bundle file, as the document of schema 1."""
    return {
        "schema": 1,
        "path": str(one.path),
        "size_bytes": one.size_bytes,
        "manifest_sha256": one.manifest_sha256,
        "manifest": one.manifest.to_json(),
    }


def write(artifact: Path, options: BundleOptions, target: Path, data: Arrays | None, baseline: Arrays | None) -> Bundle:
    """Do what `bundle` does with loaded data [N, ...] by name: golden inputs, and those of the baseline, if any."""
    if data is not None and len(next(iter(data.values()))) > MOST_SAMPLES:
        error = DataError(f"golden data of more than {MOST_SAMPLES} samples would make every bundle large")
        error.add_note(f"take a part of it: {(options.golden or 'data').partition('[')[0]}[0:{SAMPLES}]")
        raise error
    travelled, wanted = beside(artifact), parts.runtimes_of(artifact, options)
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        jobs, folder = JobRunner(log=Path(scratch, "run.log")), Path(scratch, "bundle")
        folder.mkdir()
        # from here on nothing but the files of the bundle is used: what is forgotten is missed here
        names = parts.artifact_files(artifact, folder)
        here = bundles.choose_runtime(wanted, f"of '{artifact}'").name
        made = _made(folder / names[0], here, options, data, jobs)
        files = [parts.described_file(folder / name, "artifact") for name in names]
        files += [*made.files, *parts.words(options, travelled, folder)]
        manifest = parts.manifest_of(artifact, options, travelled, made, files)
        if baseline is not None:
            found = _observed(folder / names[0], here, manifest, baseline, jobs)
            manifest = replace(manifest, baseline=found)
        text = manifest_text(manifest)
        (folder / MANIFEST).write_bytes(text)
        (folder / DIGEST).write_bytes(digest_text(text))
        proof = _prove(folder, _HERE, jobs)
        if not proof.passed:
            raise BundleError(f"'{artifact}' does not repeat its own golden vectors: {proof.reason}")
        target.parent.mkdir(parents=True, exist_ok=True)
        write_durably(target, bundles.write(manifest, {one.name: folder / one.name for one in manifest.files}))
    return bundles.read(target)


def _made(model: Path, runtime: str, options: BundleOptions, data: Arrays | None, jobs: JobRunner) -> Made:
    """Make golden vectors beside the model."""
    inputs = None
    if data is not None:
        inputs = str(jobs.log.with_name("inputs.npz"))
        np.savez(inputs, **data)  # type: ignore[arg-type]  # names are the arrays' own
    request = {
        "model": str(model),
        "runtime": runtime,
        "threads": options.threads,
        "inputs": inputs,
        "runs": SAMPLES,
        "seed": options.seed,
        "folder": str(model.parent),
    }
    return Made.from_json(_answer(jobs, {"make": request}))


def _observed(model: Path, runtime: str, manifest: Manifest, data: Arrays, jobs: JobRunner) -> Baseline:
    """Run the model on data [N, ...] by name and return what inputs and answers are like.

    Raises:
        InputDataError: if the data has other inputs, or holds what is no number.
    """
    inputs = jobs.log.with_name("baseline.npz")
    np.savez(inputs, **data)  # type: ignore[arg-type]  # names are the arrays' own
    request = {
        "model": str(model),
        "runtime": runtime,
        "threads": manifest.threads,
        "inputs": str(inputs),
        "softmax": manifest.postprocess.get("activation") == "softmax",
    }
    return Baseline.from_json(_answer(jobs, {"observe": request}))


def _prove(folder: Path, device: str | None, jobs: JobRunner) -> Proof:
    return Proof.from_json(_answer(jobs, {"prove": {"folder": str(folder), "device": device}}))


def _answer(jobs: JobRunner, request: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = jobs.run(_TRIAL, request)
    if "error" not in answer:
        return answer
    kind: type[AgentError] = getattr(errors, answer["error"]["kind"], ModelError)
    error = kind(answer["error"]["message"])
    for note in answer["error"]["notes"]:
        error.add_note(note)
    raise error
