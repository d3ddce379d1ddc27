"""The runtimes a model can be checked against, and what was probed of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from edgekit_converters.compat.table import Table

# name -> formats it takes. Those without a probed column are judged by rules and by loading alone.
RUNTIMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "tflite-runtime": (".tflite",),
        "ai-edge-litert": (".tflite",),
        "tflite-micro": (".tflite",),
        "openvino": (".xml", ".onnx", ".tflite"),
        "openvino-gpu": (".xml", ".onnx", ".tflite"),
        "openvino-npu": (".xml", ".onnx", ".tflite"),
        "onnxruntime": (".onnx",),
        "tflite-gpu": (".tflite",),
        "edgetpu": (".tflite",),
    }
)


class UnknownRuntimeError(ValueError):
    """A name that is no runtime, or a version nobody can read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A runtime to check against; `versions` is empty for whichever is newest."""

    runtime: str
    versions: SpecifierSet

    def __str__(self) -> str:
        """Return it as it is asked for."""
        return f"{self.runtime}{self.versions}"


def parse(text: str) -> Wanted:
    """Read `tflite-runtime==2.14.0`, `ai-edge-litert>=1.2,<3` or a bare name.

    Raises:
        UnknownRuntimeError: if there is no such runtime or the version is none.
    """
    try:
        asked = Requirement(text)
    except InvalidRequirement:
        raise UnknownRuntimeError(f"'{text}' is not a runtime with a version, such as tflite-runtime==2.14.0") from None
    if asked.name not in RUNTIMES or asked.extras or asked.url or asked.marker:
        raise UnknownRuntimeError(f"there is no runtime '{asked.name}'; there are: {', '.join(RUNTIMES)}")
    return Wanted(runtime=asked.name, versions=asked.specifier)


def columns(table: Table, wanted: Wanted) -> dict[str, tuple[int, ...]]:
    """Return by version which columns of the table speak for it.

    A range takes every probed version in it, a bare name the newest. A single version that was not probed is judged by
    the probed ones just below and above it, and one newer than all by the newest; one older than all by none.
    """
    known = {Version(version): at for version, at in table.columns(wanted.runtime).items()}
    if not known:
        return {}
    if not wanted.versions:
        newest = max(known)
        return {str(newest): (known[newest],)}
    single = _single(wanted.versions)
    if single is None:
        return {str(one): (known[one],) for one in sorted(known) if wanted.versions.contains(one, prereleases=True)}
    if single in known:
        return {str(single): (known[single],)}
    below, above = [one for one in known if one < single], [one for one in known if one > single]
    if not below:
        return {str(single): ()}
    return {str(single): tuple(known[one] for one in (max(below), *([min(above)] if above else [])))}


def _single(versions: SpecifierSet) -> Version | None:
    exact = [one for one in versions if one.operator in {"==", "==="} and not one.version.endswith(".*")]
    try:
        return Version(exact[0].version) if exact else None
    except InvalidVersion:
        return None
