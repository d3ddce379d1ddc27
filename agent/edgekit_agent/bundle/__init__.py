"""Bundles (`.ekb`): a model with its manifest, golden vectors, labels and report in one file.

Reading, verifying and unpacking need the standard library only; running the golden vectors (`bundle.golden`,
`bundle.trial`) needs NumPy and a runtime.
"""

from edgekit_agent.bundle.archive import Placed, write
from edgekit_agent.bundle.fits import check_hardware, choose_runtime
from edgekit_agent.bundle.manifest import (
    SCHEMA,
    Bounds,
    BundleFile,
    Golden,
    GoldenArray,
    Manifest,
    RuntimeRange,
    Tensor,
)
from edgekit_agent.bundle.parsing import MOST_BYTES, parse
from edgekit_agent.bundle.reading import (
    SUFFIX,
    Bundle,
    read,
    read_folder,
    unpack,
    unpack_from,
    verify,
    verify_folder,
)

__all__ = [
    "MOST_BYTES",
    "SCHEMA",
    "SUFFIX",
    "Bounds",
    "Bundle",
    "BundleFile",
    "Golden",
    "GoldenArray",
    "Manifest",
    "Placed",
    "RuntimeRange",
    "Tensor",
    "check_hardware",
    "choose_runtime",
    "parse",
    "read",
    "read_folder",
    "unpack",
    "unpack_from",
    "verify",
    "verify_folder",
    "write",
]
