"""Write docs/reference/onnx-ops.md: ONNX's node tests run through the lowering to TFLite, counted by op.

`python docs/generate_onnx_support.py [FILE]`; takes a minute.
"""

import collections
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekit_converters.lowering import OPS, node_tests

STATUSES = ("passed", "refused", "failed", "crashed")
Counts = dict[str, collections.Counter[str]]


def main(target: Path) -> None:
    """Run the tests and write the page."""
    cases = node_tests.load_cases()
    names = [name for name, case in cases.items() if node_tests.in_scope(case)]
    with tempfile.TemporaryDirectory() as work:
        verdicts = node_tests.run_all(names, Path(work))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page(cases, verdicts))


def page(cases: Mapping[str, Any], verdicts: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page for verdicts by test name."""
    import onnx

    whole = {name: one for name, one in verdicts.items() if "_expanded" not in name}
    lines = [
        "# ONNX operators that reach TFLite",
        "",
        f"Made by `docs/generate_onnx_support.py` from the node tests inside onnx {onnx.__version__}.",
        "In scope are those with float32, int32, int64 and bool at their borders, float32 among them, and no training:",
        f"{len(verdicts)} of {len(cases)}.",
        f"The lowering has {len(OPS)} operators of its own; others that ONNX defines as functions are written out.",
        "",
        "- Passed: LiteRT gives the expected outputs within the test's tolerance, or one rounding of the largest.",
        "- Refused: an error with a reason, and no file.",
        "- Failed: a wrong file, or a bug. Crashed: the compiler or the runtime died.",
        "",
        "| tests | all | passed | refused | failed | crashed | passed of all |",
        "|---|---|---|---|---|---|---|",
        _total("all", verdicts),
        _total("without the `_expanded` variants", whole),
        "",
        "| operator | passed | refused | failed | why refused |",
        "|---|---|---|---|---|",
        *_rows(cases, verdicts),
        "",
    ]
    return "\n".join(lines)


def _total(label: str, verdicts: Mapping[str, Mapping[str, Any]]) -> str:
    counts = collections.Counter(one["status"] for one in verdicts.values())
    share = counts["passed"] / max(1, len(verdicts))
    cells = " | ".join(str(counts[status]) for status in STATUSES)
    return f"| {label} | {len(verdicts)} | {cells} | {share:.1%} |"


def _rows(cases: Mapping[str, Any], verdicts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    counts: Counts = collections.defaultdict(collections.Counter)
    reasons: Counts = collections.defaultdict(collections.Counter)
    for name, verdict in verdicts.items():
        op = operator_of(cases, name)
        counts[op][verdict["status"]] += 1
        if verdict["status"] != "passed":
            reasons[op][shortened(verdict["reason"])] += 1
    return [
        f"| {op} | {found['passed']} | {found['refused']} | {found['failed'] + found['crashed']} |"
        f" {'; '.join(why for why, _ in reasons[op].most_common(3))} |"
        for op, found in sorted(counts.items())
    ]


def operator_of(cases: Mapping[str, Any], name: str) -> str:
    """Return the operator a test is about; an expanded one is about the operator it was expanded from."""
    base = name.split("_expanded", maxsplit=1)[0]
    case = cases.get(base, cases[name])
    return str(case.model.graph.node[0].op_type)


def shortened(reason: str) -> str:
    """Return a reason without the names of nodes and values, for a table."""
    plain = re.sub(r" \(node '[^']*' #\d+\)", "", reason.split("; also ", maxsplit=1)[0])
    plain = re.sub(r"'[^' ]{25,}'", "'...'", plain).replace("|", "/")
    return plain[:120]


if __name__ == "__main__":
    here = Path(__file__).parent
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else here / "reference" / "onnx-ops.md")
