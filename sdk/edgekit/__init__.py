"""EdgeKit: from a trained model to measured latency on a fleet of edge devices.

The public Python API. Names are loaded on first use, so `import edgekit` needs none of the heavy libraries.
"""

import importlib
from typing import TYPE_CHECKING

from edgekit_agent import __version__

if TYPE_CHECKING:
    from edgekit._bench import BenchResult, bench
    from edgekit._bundle import Verified, bundle, show_bundle, verify_bundle
    from edgekit._bundle_options import BundleOptions
    from edgekit._check import CheckResult, check
    from edgekit._compare import Comparison, LayerError, compare
    from edgekit._convert import compress, convert
    from edgekit._cut import Cut, cut
    from edgekit._evaluate import Score, evaluate
    from edgekit._events import Event
    from edgekit._inspect import inspect
    from edgekit._join import Joined, join
    from edgekit._options import ConvertOptions
    from edgekit._pack import Packed, pack, unpack
    from edgekit._report import ArtifactReport, Report
    from edgekit.training import Trained, TrainOptions, distill, finetune, train_quantized
    from edgekit_agent.bundle import Bundle

_WHERE = {
    "ArtifactReport": "edgekit._report",
    "BenchResult": "edgekit._bench",
    "Bundle": "edgekit_agent.bundle",
    "BundleOptions": "edgekit._bundle_options",
    "CheckResult": "edgekit._check",
    "Comparison": "edgekit._compare",
    "ConvertOptions": "edgekit._options",
    "Cut": "edgekit._cut",
    "Event": "edgekit._events",
    "Joined": "edgekit._join",
    "LayerError": "edgekit._compare",
    "Packed": "edgekit._pack",
    "Report": "edgekit._report",
    "Score": "edgekit._evaluate",
    "TrainOptions": "edgekit.training",
    "Trained": "edgekit.training",
    "Verified": "edgekit._bundle",
    "bench": "edgekit._bench",
    "bundle": "edgekit._bundle",
    "check": "edgekit._check",
    "compare": "edgekit._compare",
    "compress": "edgekit._convert",
    "convert": "edgekit._convert",
    "cut": "edgekit._cut",
    "distill": "edgekit.training",
    "evaluate": "edgekit._evaluate",
    "finetune": "edgekit.training",
    "inspect": "edgekit._inspect",
    "join": "edgekit._join",
    "pack": "edgekit._pack",
    "show_bundle": "edgekit._bundle",
    "train_quantized": "edgekit.training",
    "unpack": "edgekit._pack",
    "verify_bundle": "edgekit._bundle",
}

__all__ = [
    "ArtifactReport",
    "BenchResult",
    "Bundle",
    "BundleOptions",
    "CheckResult",
    "Comparison",
    "ConvertOptions",
    "Cut",
    "Event",
    "Joined",
    "LayerError",
    "Packed",
    "Report",
    "Score",
    "TrainOptions",
    "Trained",
    "Verified",
    "__version__",
    "bench",
    "bundle",
    "check",
    "compare",
    "compress",
    "convert",
    "cut",
    "distill",
    "evaluate",
    "finetune",
    "inspect",
    "join",
    "pack",
    "show_bundle",
    "train_quantized",
    "unpack",
    "verify_bundle",
]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'edgekit' has no attribute '{name}'")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return __all__
