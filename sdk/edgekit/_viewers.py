"""Hand a model over to a program that draws models: Netron or Model Explorer, when it is installed."""

import importlib.util
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from edgekit.errors import EnvironmentMissingError, UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """A program to look at models: the package it comes in, and how its own Python starts it on 127.0.0.1."""

    package: str
    module: str
    code: str

    def show(self, model: Path) -> None:
        """Show a model until the viewer is closed, by Ctrl-C as its own command is.

        Raises:
            EnvironmentMissingError: if it fails to start.
        """
        command = [sys.executable, "-P", "-c", self.code, str(model.resolve())]
        code = subprocess.run(command, check=False).returncode
        if code:
            raise EnvironmentMissingError(f"{self.package} ended with code {code}")


# Both are told the address: neither is to listen to anything but this machine.
VIEWERS: Mapping[str, Viewer] = MappingProxyType(
    {
        "netron": Viewer(
            package="netron",
            module="netron",
            code="import sys, netron; netron.start(sys.argv[1], address=('127.0.0.1', 0)); netron.wait()",
        ),
        "model-explorer": Viewer(
            package="ai-edge-model-explorer",
            module="model_explorer",
            code="import sys, model_explorer; model_explorer.visualize(sys.argv[1], host='127.0.0.1')",
        ),
    }
)


def find(name: str) -> Viewer:
    """Return a viewer.

    Raises:
        UsageError: if there is no such viewer.
        EnvironmentMissingError: if it is not installed.
    """
    if name not in VIEWERS:
        raise UsageError(f"there is no viewer '{name}'; there are: {', '.join(VIEWERS)}")
    viewer = VIEWERS[name]
    if importlib.util.find_spec(viewer.module) is None:
        error = EnvironmentMissingError(f"{name} is not installed")
        error.add_note(f"pip install {viewer.package}; or write a page with --html")
        raise error
    return viewer
