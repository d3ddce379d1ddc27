"""A bundle proved on this device before anything serves it."""

import tempfile
from contextlib import closing
from pathlib import Path

from edgekit_agent import loading
from edgekit_agent.bundle.acceptance import Acceptance, accept
from edgekit_agent.bundle.manifest import Manifest
from edgekit_agent.bundle.reading import read_folder, unpack
from edgekit_agent.bundled import configured, with_runtime
from edgekit_agent.config import ModelConfig


def prove(path: Path) -> tuple[Manifest, Acceptance]:
    """Do what an update does with a bundle before its trial: check every byte, load, golden outputs, bounds.

    Raises:
        BundleError: if it is damaged, or not for the runtimes that are here.
        RuntimeMissingError: if none of its runtimes is here.
        ModelError: if it cannot be loaded.
        AcceptanceError: if it does not do what its manifest promises.
        OSError: if there is no room for its files.
    """
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        folder = Path(scratch, "bundle")
        unpack(path, folder)
        manifest = read_folder(folder)
        config = with_runtime(configured(ModelConfig(name=manifest.model, bundle=str(folder)), folder))
        with closing(loading.plan(config).load()) as session:
            return manifest, accept(session, folder)
