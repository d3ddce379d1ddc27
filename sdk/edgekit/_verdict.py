"""What becomes of a model on one runtime: the prediction and the real run put together."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from edgekit._interpreters import Loaded
from edgekit_converters.compat.findings import Finding, Kind, Status
from edgekit_converters.compat.nodes import Node

_OWN_DATA = "its inputs may need certain values: edgekit compare SOURCE MODEL --data runs it on yours"
# How TFLite's runtimes name the node at which they stopped.
_NODE = re.compile(r"[Nn]ode number (\d+) \((\w+)\)")
_BAD = (Status.CRASHES, Status.FAILS, Status.DIFFERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeCheck:
    """A model on one version of a runtime; `version` is empty where rules hold for all of them.

    `predicted` is what table and rules say, `loaded` what came of a real run (None where the runtime is not here).
    """

    runtime: str
    version: str
    verdict: Status
    predicted: Status
    kinds: tuple[Kind, ...]
    findings: tuple[Finding, ...]
    loaded: Status | None = None

    @property
    def name(self) -> str:
        """Name and version."""
        return f"{self.runtime} {self.version}".rstrip()

    def to_json(self) -> dict[str, object]:
        """Return the check as JSON values."""
        return {**asdict(self), "kinds": list(self.kinds), "findings": [asdict(one) for one in self.findings]}


def decided(
    name: tuple[str, str],
    kind: Kind,
    findings: Sequence[Finding] | None,
    loaded: Loaded | None = None,
    nodes: Sequence[Node] = (),
) -> RuntimeCheck:
    """Put prediction and real run together: a real run decides, except that it does not see wrong numbers."""
    kept = list(findings or ())
    if loaded is None:
        kept += [_nothing_known(*name)] if findings is None else []
    elif loaded.status is Status.RUNS:
        kept = [one for one in kept if one.status is Status.DIFFERS]
    else:
        kept.append(_not_run(loaded, nodes))
    kinds = (*((kind,) if findings is not None else ()), *((Kind.LOADED,) if loaded is not None else ()))
    return RuntimeCheck(
        runtime=name[0],
        version=name[1],
        verdict=_worst(kept),
        predicted=Status.UNKNOWN if findings is None else _worst(findings),
        kinds=kinds,
        findings=tuple(kept),
        loaded=None if loaded is None else loaded.status,
    )


def _worst(findings: Sequence[Finding]) -> Status:
    found = {one.status for one in findings}
    return next((one for one in (*_BAD, Status.UNKNOWN) if one in found), Status.RUNS)


def _not_run(loaded: Loaded, nodes: Sequence[Node]) -> Finding:
    said = Finding(
        status=loaded.status,
        kind=Kind.LOADED,
        source=f"{loaded.runtime} {loaded.version}",
        reason=loaded.reason,
        advice=_OWN_DATA if loaded.status is Status.UNKNOWN else "",
    )
    named = _NODE.search(loaded.reason)
    at = [one for one in nodes if named and one.graph == 0 and (str(one.index), one.op) == named.groups()]
    return said.at(at[0]) if at else said


def _nothing_known(runtime: str, version: str) -> Finding:
    return Finding(
        status=Status.UNKNOWN,
        kind=Kind.RULE,
        source="edgekit",
        reason=f"{runtime} {version}".rstrip() + " is not installed here, and nothing else can tell",
        advice="name an interpreter that has it: --python PATH",
    )
