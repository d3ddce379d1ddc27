"""The nodes of a TFLite file against the table of probes."""

from collections.abc import Sequence

from edgekit_converters.compat.advice import advice
from edgekit_converters.compat.findings import Finding, Kind, Status
from edgekit_converters.compat.nodes import Node
from edgekit_converters.compat.table import Table, Verdict

_WORST_LAST = (Status.RUNS, Status.UNKNOWN, Status.DIFFERS, Status.FAILS, Status.CRASHES)


def judge(table: Table, nodes: Sequence[Node], runtime: str, columns: Sequence[int]) -> list[Finding]:
    """Return a finding for each node that one of the columns does not run; no columns: nothing is known."""
    source = " and ".join(" ".join(table.runtimes[at]) for at in columns) or f"no probes of {runtime} this old"
    found = []
    for node in nodes:
        said = [table.ask(node, at) for at in columns] or [Verdict(status=Status.UNKNOWN, reason="nothing was probed")]
        worst = max(said, key=lambda one: _WORST_LAST.index(one.status))
        if worst.status is Status.RUNS:
            continue
        # probes below and above that do not agree say nothing of what lies between
        between = any(one.status is Status.RUNS for one in said)
        verdict = (
            Verdict(status=Status.UNKNOWN, reason=f"the versions around it differ: {worst.reason}")
            if between
            else worst
        )
        words = advice(table, node, verdict, runtime)
        found.append(
            Finding(status=verdict.status, kind=Kind.PROBED, source=source, reason=verdict.reason, advice=words).at(
                node
            )
        )
    return found
