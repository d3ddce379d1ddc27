"""Which model of a folder goes on the device."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgekit.errors import DataError
from edgekit_agent import bundle

SUFFIXES = {".tflite": "tflite", ".xml": "openvino", ".null": "null", bundle.SUFFIX: "bundle"}
# Which runtimes take a format; the first is its own.
RUNTIMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"tflite": ("ai-edge-litert", "tflite-runtime", "openvino"), "openvino": ("openvino",), "null": ("null",)}
)
_MAX_REPORT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A model file with what belongs to it; `files` starts with the one the runtime opens, or is a bundle."""

    name: str
    format: str
    files: tuple[Path, ...]
    runtimes: tuple[str, ...]
    """Those that take it, its own first."""

    def runtime(self, wanted: str) -> str:
        """Return the runtime to install: the one wanted, or the format's own.

        Raises:
            DataError: if the one wanted does not run the format.
        """
        if wanted == "auto":
            return self.runtimes[0]
        if wanted not in self.runtimes:
            raise DataError(f"runtime '{wanted}' does not run {self.format}; there are: {', '.join(self.runtimes)}")
        return wanted


def choose(model: Path, precision: str | None = None, runtime: str = "auto") -> Chosen:
    """Return a model file, or the best artifact of a folder made by `edgekit convert`.

    Of a folder: those whose status is ok and that the runtime takes, its own format first, int8 before others, TFLite
    before OpenVINO, then the smallest.

    Raises:
        DataError: if there is none, or the file is no model a device runs.
        BundleError: if it is a bundle that is damaged.
    """
    if model.is_dir():
        model = _of_folder(model, precision, runtime)
    form = SUFFIXES.get(model.suffix.lower())
    if not model.is_file() or form is None:
        what = "does not exist" if not model.exists() else f"is none of {', '.join(SUFFIXES)}"
        raise DataError(f"model '{model}' {what}")
    if form == "bundle":
        return _of_bundle(model)
    files = (model, model.with_suffix(".bin")) if form == "openvino" else (model,)
    if not files[-1].is_file():
        raise DataError(f"model '{model}' has no weights beside it: '{files[-1].name}' is missing")
    name = model.stem.partition(".")[0] if model.stem.count(".") else model.stem
    return Chosen(name=name[:64], format=form, files=files, runtimes=RUNTIMES[form])


def _of_bundle(path: Path) -> Chosen:
    """Return a bundle, every byte of it checked."""
    manifest = bundle.verify(path).manifest
    known = {one for fitting in RUNTIMES.values() for one in fitting}
    fitting = tuple(one.name for one in manifest.runtimes if one.name in known)
    if not fitting:
        named = ", ".join(one.name for one in manifest.runtimes)
        raise DataError(f"bundle '{path}' is for {named}, and flash installs: {', '.join(sorted(known))}")
    return Chosen(name=manifest.model, format="bundle", files=(path,), runtimes=fitting)


def _of_folder(folder: Path, precision: str | None, runtime: str) -> Path:
    report = folder / "report.json"
    if not report.is_file():
        found = sorted(one for one in folder.iterdir() if one.suffix.lower() in SUFFIXES)
        if len(found) == 1:
            return found[0]
        raise DataError(f"folder '{folder}' holds no report.json of edgekit convert and {len(found)} models")
    try:
        if report.stat().st_size > _MAX_REPORT_BYTES:
            raise DataError(f"'{report}' is larger than {_MAX_REPORT_BYTES} bytes")
        artifacts = json.loads(report.read_text())["artifacts"]
        fitting = [
            one
            for one in artifacts
            if one["status"] == "ok"
            and precision in {None, one["precision"]}
            and (runtime == "auto" or runtime in RUNTIMES.get(one["format"], ()))
        ]
        best = min(fitting, key=lambda one: _order(one, runtime), default=None)
        chosen = None if best is None else (folder / str(best["path"])).resolve()
    except (ValueError, KeyError, TypeError) as exc:
        raise DataError(f"'{report}' is no report of edgekit convert") from exc
    if chosen is None:
        wanted = (f" in {precision}" if precision else "") + ("" if runtime == "auto" else f" for {runtime}")
        raise DataError(f"'{report}' names no artifact that is ok{wanted}")
    if not chosen.is_relative_to(folder.resolve()):
        raise DataError(f"'{report}' names an artifact outside its folder")
    return chosen


def _order(artifact: Mapping[str, Any], runtime: str) -> tuple[bool, bool, bool, int]:
    foreign = runtime == "openvino" and artifact["format"] != "openvino"
    return foreign, artifact["precision"] != "int8", artifact["format"] != "tflite", int(artifact["size_bytes"])
