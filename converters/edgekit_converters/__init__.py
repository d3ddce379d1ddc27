"""Models in, artifacts out: conversion and quantization for TFLite and OpenVINO."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgekit_converters.backends import BACKENDS
    from edgekit_converters.backends.base import Failure
    from edgekit_converters.calibration import random_calibration
    from edgekit_converters.conversion import (
        ConversionRequest,
        ConversionResult,
        check_wanted,
        convert,
        describe,
        reference,
        stem_of,
    )
    from edgekit_converters.events import Event, OnEvent
    from edgekit_converters.frontends import FRONTENDS, frontend_for
    from edgekit_converters.jobs import JobRunner
    from edgekit_converters.model import Arrays, Artifact, SourceModel, Step, TensorSpec

__all__ = [
    "BACKENDS",
    "FRONTENDS",
    "Arrays",
    "Artifact",
    "ConversionRequest",
    "ConversionResult",
    "Event",
    "Failure",
    "JobRunner",
    "OnEvent",
    "SourceModel",
    "Step",
    "TensorSpec",
    "check_wanted",
    "convert",
    "describe",
    "frontend_for",
    "random_calibration",
    "reference",
    "stem_of",
]

# Names are imported on use: `edgekit --help` needs this package's errors and must not pay for NumPy.
_HOMES = {
    "backends": ("BACKENDS",),
    "backends.base": ("Failure",),
    "calibration": ("random_calibration",),
    "conversion": (
        "ConversionRequest",
        "ConversionResult",
        "check_wanted",
        "convert",
        "describe",
        "reference",
        "stem_of",
    ),
    "events": ("Event", "OnEvent"),
    "frontends": ("FRONTENDS", "frontend_for"),
    "jobs": ("JobRunner",),
    "model": ("Arrays", "Artifact", "SourceModel", "Step", "TensorSpec"),
}
_HOME = {name: f"edgekit_converters.{home}" for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
