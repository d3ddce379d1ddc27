"""What to do about an op that does not run: a word for the known cases, and which probed runtimes do run it."""

from edgekit_converters.compat.findings import Status
from edgekit_converters.compat.nodes import Node
from edgekit_converters.compat.table import Table, Verdict

_FLEX = "CUSTOM:Flex"


def advice(table: Table, node: Node, verdict: Verdict, runtime: str) -> str:
    """Return what to do, as one sentence or two halves of one."""
    if verdict.status is Status.UNKNOWN:
        return "load it where the runtime is: --python names an interpreter that has it"
    parts = [known for known in (_known(node),) if known]
    others = _others(table, node, runtime)
    if others:
        parts.append(f"it runs on {others}")
    return "; ".join(parts) or "no probed runtime takes it: convert the model without this op or with other types"


def _known(node: Node) -> str:
    if node.op.startswith(_FLEX):
        return "it is a TensorFlow op that needs TensorFlow on the device: edgekit convert never writes these"
    if node.op.startswith("CUSTOM:"):
        return "it is an op of its own maker: the runtime has to be built with it"
    if node.op.startswith("STABLEHLO_"):
        return "it was left over by the converter: edgekit convert refuses to write it"
    if "qint4" in node.types:
        return "store the weights in 8 bits: edgekit convert --precision int8"
    if "per channel" in node.facts and node.types.startswith("float32 qint8"):
        return (
            "quantize the activations too (edgekit convert --precision int8 --calib DATA), or keep the weights in fp16"
        )
    return ""


def _others(table: Table, node: Node, runtime: str) -> str:
    """Name the probed runtimes that run the node: newer versions of the same one first."""
    good = []
    for name in dict.fromkeys([runtime, *(name for name, _ in table.runtimes)]):
        columns = table.columns(name)
        running = [version for version, at in columns.items() if table.ask(node, at).status is Status.RUNS]
        if not running:
            continue
        newest = list(columns)[-1]
        since = running[0] if running == list(columns)[list(columns).index(running[0]) :] else ""
        good.append(f"{name} {since} and newer" if since and since != newest else f"{name} {', '.join(running)}")
    return ", ".join(good)
