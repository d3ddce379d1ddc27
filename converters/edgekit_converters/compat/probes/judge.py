"""From the raw answers of the probes to verdicts: runs, fails with a reason, crashes, or gives other numbers."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit_converters.compat import table
from edgekit_converters.compat.probes import shapes
from edgekit_converters.compat.probes.one_op import TYPES, Case, Value
from edgekit_converters.compat.probes.oracle import zero_point

Floats = NDArray[np.float64]
Verdict = tuple[str, str]
"""(status, reason): `runs`, `fails`, `crashes`, `differs`; the reason is empty for `runs`."""

RUNS: Verdict = ("runs", "")
DIFFERS: Verdict = ("differs", "it runs and gives other numbers")
ABSENT: Verdict = ("fails", table.ABSENT)
# Worst last: the verdict on a key is the worst of its cases.
_ORDER = ("runs", "fails", "crashes", "differs")

_ABSENT = re.compile(
    r"Didn't find op for builtin opcode|builtin_code out of range|Failed to get registration|No translator found"
    r"|unresolved custom op",
    re.IGNORECASE,
)
# What the Python binding cannot hand over says nothing of the kernel.
_NOT_ASKED = ("Cannot set tensor: Got value of type NOTYPE", "Invalid data-type for array")
_NOISE = (
    re.compile(r"Node (number )?\S*\s*\(?[^)]*\)? failed to (prepare|invoke).*", re.DOTALL),
    re.compile(r"(/?\S*tensorflow/)?(tensorflow/lite|tflite|tensorflow/compiler/mlir/lite)/\S+\.(cc|h)(:\d+)?:? ?"),
    re.compile(r"\(-?\w+ != -?\w+\)"),
    re.compile(r"(WARNING|INFO): .*"),
    re.compile(r", got -?\d{4,}"),  # a message that reads a type from where none is
)
_REASON_CHARACTERS = 140
_RANDOM = frozenset({"MULTINOMIAL", "RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM", "STABLEHLO_RNG_BIT_GENERATOR"})
# Eight and sixteen bit arithmetic may round otherwise by this many steps; hybrid kernels quantize what they are given.
_STEPS, _FLOAT_SHARE, _HALF_SHARE, _HYBRID_SHARE = 2.5, 1e-3, 1e-2, 0.06
# Arithmetic on eight and sixteen bits without a scale means nothing; moving such values does.
# Taken from tables over all of int16, of which the probes' values use a few steps.
_LOOKED_UP = frozenset({"EXP", "LOG", "RSQRT"})
_SMALL = frozenset({"int8", "uint8", "int16"})
_MOVES = frozenset(case.op for case in shapes.cases())


def verdict(answer: Mapping[str, Any]) -> Verdict | None:
    """Return what an answer says of the kernel, None when it says nothing."""
    if answer["ok"]:
        return RUNS
    if answer.get("crashed"):
        return "crashes", answer["reason"]
    text = f"{answer['reason']}\n{answer['said']}"
    if any(words in text for words in _NOT_ASKED):
        return None
    if _ABSENT.search(text):
        return ABSENT
    said = str(answer["said"]).replace("\r", "")
    return "fails", _telling(
        said if "TFLM" in answer["reason"] or "invocation failed" in answer["reason"] else answer["reason"]
    )


def _telling(text: str) -> str:
    if text.startswith("Exception from src/"):  # OpenVINO: from where it was thrown down to what is wrong
        text = text.strip().splitlines()[-1]
    for noise in _NOISE:
        text = noise.sub(" ", text)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return (next((line for line in lines if line), "") or "it refuses these types")[:_REASON_CHARACTERS]


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the worst of some verdicts."""
    return max(verdicts, key=lambda one: _ORDER.index(one[0]))


def agrees(case: Case, answer: Mapping[str, Any], reference: Mapping[str, Any], *, real: bool) -> bool:
    """Whether an answer's numbers are right: `reference` is of the same case, or (`real`) of its float twin."""
    if case.op in _RANDOM or (case.op in _LOOKED_UP and case.outputs[0].type == "qint16"):
        return True
    pairs = zip(answer["outputs"], reference["outputs"], case.outputs, strict=False)
    return all(
        _right(case, np.array(ours["values"]), np.array(theirs["values"]), made, real) for ours, theirs, made in pairs
    )


def _right(case: Case, ours: Floats, theirs: Floats, made: Value, real: bool) -> bool:
    if ours.shape != theirs.shape:
        return False
    quantized = made.type.startswith("q")
    known = np.isfinite(theirs)  # a logarithm of less than nothing may be anything
    if quantized and real:
        limits = np.iinfo(TYPES[made.type][1])
        low, high = ((limit - zero_point(made)) * made.scale[0] for limit in (limits.min, limits.max))
        ours, theirs = (ours - zero_point(made)) * made.scale[0], np.clip(theirs, low, high)
        return bool(np.all(np.abs(ours - theirs)[known] <= _STEPS * made.scale[0]))
    if quantized:
        return bool(np.all(np.abs(ours - theirs) <= _STEPS))
    if not made.type.startswith(("float", "complex")):
        return (made.type in _SMALL and case.op not in _MOVES) or bool(np.array_equal(ours, theirs))
    finite = theirs[np.isfinite(theirs)]
    largest = float(np.abs(finite).max()) if finite.size else 1.0
    hybrid = any(one is not None and one.type.startswith("q") for one in case.inputs)
    share = _HYBRID_SHARE if hybrid else _HALF_SHARE if "float16" in _types(case) else _FLOAT_SHARE
    return bool(np.allclose(ours, theirs, rtol=share, atol=share * max(largest, 1e-3), equal_nan=True))


def _types(case: Case) -> set[str]:
    return {one.type for one in (*case.inputs, *case.outputs) if one is not None}
