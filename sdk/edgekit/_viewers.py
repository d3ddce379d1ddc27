"""Hand a model over to a program that draws models: Netron or Model Explorer, when it is installed."""

import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

from edgekit.errors import EnvironmentMissingError, UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """A program to look at models: the package it comes in, and how Python starts it on 127.0.0.1."""

    package: str
    module: str
    code: str

    def show(self, model: Path) -> NoReturn:
        """Become the viewer, so that what ends this process (Ctrl-C, a signal) ends it and nothing is left running."""
        sys.stdout.flush()
        # -P keeps the current folder off the import path: a user's file named like a library is not run.
        os.execv(sys.executable, [sys.executable, "-P", "-c", self.code, str(model.resolve())])  # noqa: S606  # a fixed program


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
        error = EnvironmentMissingError(f"the package '{viewer.package}' is not installed")
        error.add_note(f"install it with `pip install {viewer.package}`, or write a page with --html")
        raise error
    return viewer
