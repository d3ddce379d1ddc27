"""Models that come from bundles: what the manifest says of them becomes their configuration. Standard library only."""

import shutil
from dataclasses import replace
from pathlib import Path

from edgekit_agent import bundle, runtimes
from edgekit_agent.config import ModelConfig


def configured(config: ModelConfig, folder: Path) -> ModelConfig:
    """Return a model's configuration for the bundle that is unpacked in a folder.

    What the configuration says itself stands: pre- and post-processing, labels, threads. The rest is the manifest's;
    the runtime is chosen by the worker, which sees what is installed.

    Raises:
        BundleError: if there is no bundle in the folder.
    """
    manifest = bundle.read_folder(folder)
    labels = manifest.file_of("labels")
    return replace(
        config,
        bundle=str(folder),
        path=str(folder / manifest.artifact),
        version=manifest.version,
        labels=config.labels or (str(folder / labels) if labels else None),
        preprocess=config.preprocess or manifest.preprocess,
        postprocess=config.postprocess or manifest.postprocess,
        threads=config.threads or manifest.threads,
    )


def unpacked(config: ModelConfig, folder: Path) -> ModelConfig:
    """Return the configuration of a model whose configuration names a bundle.

    Args:
        config: of the model; one that names no bundle comes back as it is.
        folder: where a `.ekb` file is unpacked to, in a folder named by the digest of its manifest.

    Raises:
        BundleError: if it is none, or damaged.
        OSError: if it cannot be unpacked.
    """
    if config.bundle is None:
        return config
    source = Path(config.bundle)
    if source.is_dir():
        return configured(config, source)
    wanted = folder / bundle.read(source).manifest_sha256
    if not wanted.is_dir():
        shutil.rmtree(folder, ignore_errors=True)  # what came of another bundle
        bundle.unpack(source, wanted)
    return configured(config, wanted)


def with_runtime(config: ModelConfig) -> ModelConfig:
    """Return the configuration with the runtime and device that the bundle names, where they are left to the agent.

    Raises:
        BundleError: if the bundle cannot be read, or is for other runtimes than are here.
        RuntimeMissingError: if none of its runtimes is here.
    """
    if config.bundle is None or config.runtime != runtimes.AUTO:
        return config
    manifest = bundle.read_folder(Path(config.bundle))
    chosen = bundle.choose_runtime(manifest.runtimes, str(manifest))
    return replace(config, runtime=chosen.name, device=chosen.device)
