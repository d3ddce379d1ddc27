"""Which part of a TFLite library runs which operators: a delegate by path, XNNPACK, or the library's own kernels.

A delegate that takes operators puts one node in their place, whose inputs and outputs are those of the part it took:
what it took is found by walking back from its outputs to its inputs. Delegates by path are applied when an
interpreter is made, XNNPACK when its memory is planned, so the order of the nodes tells which is which.
"""

from collections.abc import Mapping
from typing import Any

from edgekit_agent.runtimes.base import CPU

XNNPACK = "XNNPACK"
_DELEGATE = "DELEGATE"


def delegated(interpreter: Any) -> int:  # noqa: ANN401  # the libraries have no types
    """Return how many nodes of delegates there are."""
    return sum(node["op_name"] == _DELEGATE for node in _nodes(interpreter))


def by_part(interpreter: Any, foreign: int, name: str | None) -> Mapping[str, int]:  # noqa: ANN401
    """Return the number of operators by what runs them, the delegate first.

    Args:
        interpreter: allocated.
        foreign: how many of its delegates' nodes belong to the delegate by path: the first ones.
        name: that delegate's.
    """
    nodes = _nodes(interpreter)
    operators = [node for node in nodes if node["op_name"] != _DELEGATE]
    parts = [node for node in nodes if node["op_name"] == _DELEGATE]
    makers = {tensor: at for at, node in enumerate(operators) for tensor in map(int, node["outputs"])}
    taken: dict[int, str] = {}
    for number, part in enumerate(parts):
        runs = name if name is not None and number < foreign else XNNPACK
        for at in _between(part, operators, makers):
            taken.setdefault(at, runs)
    found = [taken.get(at, CPU) for at in range(len(operators))]
    return {one: found.count(one) for one in (name, XNNPACK, CPU) if one is not None and one in found}


def _between(part: Mapping[str, Any], operators: list[dict[str, Any]], makers: Mapping[int, int]) -> set[int]:
    """Return the operators on the way from a part's outputs back to its inputs."""
    ends, ahead, found = set(map(int, part["inputs"])), list(map(int, part["outputs"])), set[int]()
    while ahead:
        at = makers.get(ahead.pop())
        if at is not None and at not in found:
            found.add(at)
            ahead += [tensor for tensor in map(int, operators[at]["inputs"]) if tensor not in ends]
    return found


def _nodes(interpreter: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    """Return the nodes of the main graph; both libraries tell of them by this name only."""
    found: list[dict[str, Any]] = interpreter._get_ops_details()  # noqa: SLF001
    return found
