"""Fill the table of probes: `python -m edgekit_converters.compat.probes.fill WORK TABLE.json` (`make compat-table`).

Makes an environment for each wheel of `ENVIRONMENTS` below WORK, runs every case in each, judges the answers and
writes the table. Takes about ten minutes; the answers stay in WORK, so a second run only does what is missing.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgekit_converters.compat.nodes import read_nodes
from edgekit_converters.compat.probes import FIRST_VERSION, all_cases, is_bare, judge
from edgekit_converters.compat.probes.one_op import Case, build
from edgekit_converters.compat.probes.oracle import float_twin
from edgekit_converters.compat.probes.run import Answers, Environment, Probe, answers, write_cases

ENVIRONMENTS = (
    Environment(runtime="tflite-runtime", version="2.14.0", beside=("numpy<2",)),
    Environment(runtime="ai-edge-litert", version="1.0.1", beside=("numpy<2",)),
    Environment(runtime="ai-edge-litert", version="1.2.0"),
    Environment(runtime="ai-edge-litert", version="1.4.0"),
    Environment(runtime="ai-edge-litert", version="2.0.3"),
    Environment(runtime="ai-edge-litert", version="2.1.6"),
    Environment(runtime="ai-edge-litert", version="2.2.0"),
    Environment(runtime="ai-edge-litert", version="2.3.0"),
    Environment(runtime="tflite-micro", version="0.dev20261023182759"),
    Environment(runtime="openvino", version="2026.4.1"),
)
# Its float kernels are the oracle, and its answers the reference where a case has no float twin.
_NEWEST = next(one for one in ENVIRONMENTS if (one.runtime, one.version) == ("ai-edge-litert", "2.3.0"))
# These look at the version an op is marked with.
_VERSIONED = ("tflite-runtime", "ai-edge-litert")
_VERSIONS = range(1, 21)

Keys = Sequence[tuple[str, str, str]]
"""Op, types and facts of each case, as `Node` gives them."""
Verdicts = Mapping[str, Sequence[judge.Verdict | None]]
"""By runtime, the verdict on each case; None where it was not asked."""


def main(work: Path, target: Path) -> None:
    """Run what has not run yet and write the table."""
    cases = list(all_cases())
    probes = [Probe(case=case, version=FIRST_VERSION.get(case.op, 1)) for case in cases]
    twins = {number: float_twin(case) for number, case in enumerate(cases)}
    twin_at = {}
    for number, twin in twins.items():
        if twin is not None:
            twin_at[number] = len(probes)
            probes.append(Probe(case=twin, version=FIRST_VERSION.get(twin.op, 1), twin_of=number))
    found = _run(work, "ops", probes)
    keys = [_key(build(probe.case, probe.version)) for probe in probes[: len(cases)]]
    newest = found[_NEWEST.name]
    verdicts = {name: _verdicts(known, newest, cases, twin_at) for name, known in found.items()}
    versions = _versions(work, cases, keys, verdicts)
    target.write_text(_text(keys, verdicts, versions))


def _run(work: Path, what: str, probes: Sequence[Probe]) -> dict[str, Answers]:
    write_cases(work / what, probes)
    found = {}
    for one in ENVIRONMENTS:
        if what == "ops" or one.runtime in _VERSIONED:
            log = work / f"{what}-{one.name.replace(' ', '-')}.jsonl"
            found[one.name] = answers(one, one.python(work / "environments"), work / what, log)
            good = sum(answer["ok"] for answer in found[one.name].values())
            print(f"{what}: {one.name} runs {good} of {len(probes)}", file=sys.stderr, flush=True)  # noqa: T201  # a script
    return found


def _key(content: bytes) -> tuple[str, str, str]:
    node = read_nodes(content, "a probe")[0]
    return node.op, node.types, ", ".join(sorted(node.facts))


def _verdicts(
    known: Answers, newest: Answers, cases: Sequence[Case], twin_at: Mapping[int, int]
) -> list[judge.Verdict | None]:
    verdicts = []
    for number, case in enumerate(cases):
        one = judge.verdict(known[number])
        if is_bare(case) and one != judge.ABSENT:
            one = None  # the runtime knows the op; it was not asked for these types
        if one == judge.RUNS:
            real = newest[twin_at[number]]["ok"] if number in twin_at else False
            reference = newest[twin_at[number]] if real else newest[number]
            if reference["ok"] and not judge.agrees(case, known[number], reference, real=real):
                one = judge.DIFFERS
        verdicts.append(one)
    return verdicts


def _versions(work: Path, cases: Sequence[Case], keys: Keys, verdicts: Verdicts) -> dict[str, list[str]]:
    """Return for each op and runtime the versions it takes, as `first-last`, empty where none of the cases runs."""
    chosen: dict[str, int] = {}
    asked = [known for name, known in verdicts.items() if name.startswith(_VERSIONED)]
    for number, (op, _, _) in enumerate(keys):
        score = [sum(known[at] == judge.RUNS for known in asked) for at in (number, chosen.get(op, number))]
        if score[0] and (op not in chosen or score[0] > score[1]):
            chosen[op] = number
    wanted = [(op, version) for op in sorted(chosen) for version in _VERSIONS]
    found = _run(work, "versions", [Probe(case=cases[chosen[op]], version=version) for op, version in wanted])
    spans: dict[str, list[str]] = {}
    for op in sorted(chosen):
        spans[op] = []
        for name in verdicts:
            answers_of = found.get(name, {})
            good = [
                version
                for number, (of, version) in enumerate(wanted)
                if of == op and answers_of and answers_of[number]["ok"]
            ]
            spans[op].append(f"{good[0]}-{good[-1]}" if good else "")
    return spans


def _text(keys: Keys, verdicts: Verdicts, versions: Mapping[str, Sequence[str]]) -> str:
    """Return the table: what `table.py` says it is, one op a line."""
    numbers = defaultdict(list)
    for number, key in enumerate(keys):
        numbers[key].append(number)
    merged = {key: [_worst(known, same) for known in verdicts.values()] for key, same in numbers.items()}
    reasons = sorted({one for row in merged.values() for one in row if one is not None and one != judge.RUNS})
    number_of: dict[judge.Verdict | None, str] = {one: str(at) for at, one in enumerate((judge.RUNS, *reasons))}
    number_of[None] = "?"
    rows: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for (op, types, facts), row in merged.items():
        rows[op][" ".join(number_of[one] for one in row)].append(f"{types} | {facts}" if facts else types)
    lines = [f"{json.dumps(op)}: {json.dumps(rows[op])}" for op in sorted(rows)]
    head = {"schema": 1, "runtimes": list(verdicts), "verdicts": [list(judge.RUNS), *map(list, reasons)]}
    parts = [f"{json.dumps(name)}: {json.dumps(value, indent=0)}" for name, value in head.items()]
    spans = ",\n".join(f"{json.dumps(op)}: {json.dumps(span)}" for op, span in versions.items())
    return "{" + ",\n".join([*parts, f'"versions": {{\n{spans}}}', '"ops": {\n' + ",\n".join(lines) + "}"]) + "}\n"


def _worst(known: Sequence[judge.Verdict | None], numbers: Sequence[int]) -> judge.Verdict | None:
    said = [one for one in (known[number] for number in numbers) if one is not None]
    return judge.worst(said) if said else None


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
