"""The bundles of a conversion: one for each artifact that passed, with the data it was judged on as golden inputs."""

from collections.abc import Sequence
from pathlib import Path

from edgekit._bundle import SAMPLES, write
from edgekit._bundle_options import BundleOptions
from edgekit._judge import Judge
from edgekit._report import ArtifactReport
from edgekit_agent.bundle import SUFFIX
from edgekit_agent.errors import AgentError
from edgekit_converters.errors import ConversionError

FOLDER = "bundles"


def path_of(artifact: ArtifactReport) -> str | None:
    """Return where an artifact's bundle lies in the output folder, None where it has no file."""
    return f"{FOLDER}/{Path(artifact.path).name}{SUFFIX}" if artifact.path else None


def write_bundles(folder: Path, artifacts: Sequence[ArtifactReport], judge: Judge) -> list[Exception]:
    """Write a bundle for each artifact that is ok, or that is chosen where one was to be chosen.

    Args:
        folder: the output folder, with its report and models.
        artifacts: of the report.
        judge: knows the inputs.

    Returns:
        Why some have none: they cannot be run here, or do not repeat themselves.

    Raises:
        OSError: if one cannot be written.
    """
    options, result = judge.options, judge.result
    assert options.bundle is not None  # noqa: S101  # the caller asked for them
    inputs = result.layout.to_artifact(result.reference_inputs, result.source.inputs)
    data = {name: array[:SAMPLES] for name, array in inputs.items()}
    baseline = inputs if options.eval or options.calib not in {None, "random"} else None
    said = BundleOptions(version=options.bundle, seed=options.seed)
    failed: list[Exception] = []
    for one in artifacts:
        target = path_of(one)
        if one.status != "ok" or (options.auto and not one.chosen) or one.path is None or target is None:
            continue
        try:
            write(folder / one.path, said, folder / target, data, baseline)
        except (AgentError, ConversionError) as exc:
            exc.add_note(f"{one.path} has no bundle; everything else is written")
            failed.append(exc)
    return failed
