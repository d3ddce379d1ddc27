"""From a manifest's text to a manifest: what it says is checked as far as that goes without the files."""

import hashlib
import json
from collections.abc import Collection
from pathlib import Path

from edgekit_agent import runtimes
from edgekit_agent.bundle.manifest import SCHEMA, Manifest
from edgekit_agent.bundle.versions import ranges
from edgekit_agent.errors import AgentError, BundleError
from edgekit_agent.postprocess import Postprocess
from edgekit_agent.preprocess import Preprocess
from edgekit_agent.protocol.codec import MAX_MESSAGE_BYTES

MANIFEST, DIGEST = "manifest.json", "manifest.sha256"
MOST_MANIFEST_BYTES = MAX_MESSAGE_BYTES
MOST_FILES = 256
MOST_BYTES = 1 << 31
"""What the files of a bundle may be together, unless the caller says otherwise."""


def parse(text: bytes, most_bytes: int = MOST_BYTES) -> Manifest:
    """Read a manifest and check everything that can be checked without the files.

    Args:
        text: the document.
        most_bytes: what the files may be together.

    Raises:
        BundleError: naming what is wrong.
    """
    if len(text) > MOST_MANIFEST_BYTES:
        raise BundleError(f"the manifest has {len(text)} bytes, more than {MOST_MANIFEST_BYTES}")
    try:
        body = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as exc:
        raise BundleError(f"the manifest is no JSON: {exc}") from exc
    try:
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError as exc:
        raise BundleError("the manifest holds text that is no Unicode") from exc
    schema = body.get("schema") if isinstance(body, dict) else None
    if type(schema) is not int or schema != SCHEMA:
        error = BundleError(f"the manifest has schema {ascii(schema)[:40]}, and this version reads {SCHEMA}")
        error.add_note("update EdgeKit here, or make the bundle with the same version")
        raise error
    try:
        manifest = Manifest.from_json(body)
        Preprocess.from_mapping(manifest.preprocess)
        Postprocess.from_mapping(manifest.postprocess)
    except AgentError as exc:
        raise BundleError(f"the manifest is wrong: {exc}") from exc
    _check_files(manifest, most_bytes)
    _check_golden(manifest)
    _check_runtimes(manifest)
    return manifest


def digest_text(text: bytes) -> bytes:
    """Return what stands in `manifest.sha256`: a line as `sha256sum` writes it."""
    return f"{hashlib.sha256(text).hexdigest()}  {MANIFEST}\n".encode()


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")  # two readers could take another of them
    return found


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _check_files(manifest: Manifest, most_bytes: int) -> None:
    files = manifest.files
    if not 0 < len(files) <= MOST_FILES:
        raise BundleError(f"the manifest names {len(files)} files, and a bundle has 1 to {MOST_FILES}")
    _refuse_twice([one.name.lower() for one in files] + [MANIFEST, DIGEST], "file")
    if manifest.size_bytes > most_bytes:
        raise BundleError(f"the files are {manifest.size_bytes} bytes together, more than {most_bytes}")
    roles = {one.name: one.role for one in files}
    if roles.get(manifest.artifact) != "artifact":
        raise BundleError(f"the artifact '{manifest.artifact}' is none of the files, or has another role")
    for role in ("labels", "report"):
        if sum(one.role == role for one in files) > 1:
            raise BundleError(f"the manifest names more than one file as {role}")


def _check_golden(manifest: Manifest) -> None:
    golden = manifest.golden
    arrays = (*golden.inputs, *golden.outputs)
    for side, given, tensors in (
        ("inputs", golden.inputs, manifest.inputs),
        ("outputs", golden.outputs, manifest.outputs),
    ):
        if not tensors or [(one.name, one.dtype) for one in given] != [(one.name, one.dtype) for one in tensors]:
            raise BundleError(f"the golden {side} are not those of the model")
        _refuse_twice([one.name for one in tensors], side[:-1])
    if len({one.shape[:1] for one in arrays}) != 1 or not arrays[0].shape or not arrays[0].shape[0]:
        raise BundleError("the golden arrays do not have the same number of runs, at least one")
    sizes = {one.name: one.size for one in manifest.files if one.role == "golden"}
    if sorted(one.file for one in arrays) != sorted(sizes):
        raise BundleError("the golden arrays are not one for each file of that role")
    for one in arrays:
        if one.size_bytes != sizes[one.file]:
            raise BundleError(f"golden file '{one.file}' has {sizes[one.file]} bytes, and its array {one.size_bytes}")
    allowed = golden.tolerance
    if sorted(allowed) != sorted(one.name for one in golden.outputs) or any(one < 0 for one in allowed.values()):
        raise BundleError("the golden tolerance is not a number of 0 or more for each output")


def _check_runtimes(manifest: Manifest) -> None:
    form = runtimes.FORMATS.get(Path(manifest.artifact).suffix)
    if not manifest.runtimes:
        raise BundleError("the manifest names no runtime")
    for one in manifest.runtimes:
        ranges(one.versions)
        if one.name in runtimes.RUNTIMES and form not in runtimes.get(one.name).formats:
            raise BundleError(f"runtime '{one.name}' does not run the artifact '{manifest.artifact}'")


def _refuse_twice(names: Collection[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise BundleError(f"the manifest names {what} '{name}' twice")
        seen.add(name)
