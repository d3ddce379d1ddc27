"""The probes: one-op TFLite files for the builtin ops and their types, run on real wheels to fill the table."""

from collections.abc import Iterator, Mapping

from edgekit_converters.compat.probes import control, elementwise, layers, operands, reductions, shapes
from edgekit_converters.compat.probes.one_op import Case, Value

FAMILIES = (elementwise, shapes, reductions, layers, control, operands)

# The first version of an op that its kernels ever had, where that is not 1.
FIRST_VERSION: Mapping[str, int] = {"BROADCAST_TO": 2}


def all_cases() -> Iterator[Case]:
    """Yield every case of every family, then one for each builtin that none covers: does the runtime know it at all?"""
    covered = set()
    for family in FAMILIES:
        for case in family.cases():
            covered.add(case.op)
            yield case
    yield from (_bare(op) for op in _builtins() if op not in covered)


def is_bare(case: Case) -> bool:
    """Whether a case only asks if the op is known: its tensors and options are not what the op takes."""
    return case.options is None and case.inputs == _BARE_INPUTS and case.outputs == _BARE_OUTPUTS


_BARE_INPUTS = (Value(type="float32", shape=(7,)),)
_BARE_OUTPUTS = (Value(type="float32", shape=(7,)),)
_NO_OPS = frozenset({"CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES"})


def _bare(op: str) -> Case:
    return Case(op=op, inputs=_BARE_INPUTS, outputs=_BARE_OUTPUTS)


def _builtins() -> list[str]:
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    return [name for name, number in vars(BuiltinOperator).items() if isinstance(number, int) and name not in _NO_OPS]
