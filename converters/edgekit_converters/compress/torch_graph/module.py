"""A graph as a `torch.nn.Module`: its learnt tensors are parameters, which go back where they came from."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from edgekit_converters.compress.torch_graph.calls import DTYPES, Call, Function, Tensor
from edgekit_converters.compress.torch_graph.elementwise import ELEMENTWISE
from edgekit_converters.compress.torch_graph.recurrent import RECURRENT
from edgekit_converters.compress.torch_graph.reducing import REDUCING
from edgekit_converters.compress.torch_graph.resizing import RESIZING
from edgekit_converters.compress.torch_graph.shaping import SHAPING
from edgekit_converters.compress.torch_graph.windows import WINDOWS
from edgekit_converters.errors import TrainingError, UnsupportedError
from edgekit_converters.foreign import first_line
from edgekit_converters.graph.model import ONNX, inputs_of
from edgekit_converters.graph.reading import name_of
from edgekit_converters.graph.weights import replaced

if TYPE_CHECKING:
    import onnx_ir as ir

FUNCTIONS = {**ELEMENTWISE, **WINDOWS, **REDUCING, **SHAPING, **RESIZING, **RECURRENT}
"""ONNX operator -> PyTorch function of a `Call` and its inputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    call: Call
    function: Function
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    done: tuple[str, ...]
    """Values that no later step takes."""


def check_ops(model: "ir.Model") -> None:
    """Look whether every node has a PyTorch function.

    Raises:
        UnsupportedError: naming the first that has none.
    """
    for node in model.graph:
        if node.domain not in ONNX or node.op_type not in FUNCTIONS:
            where = f" of '{node.domain}'" if node.domain not in ONNX else ""
            raise UnsupportedError(
                f"op '{node.op_type}'{where} (node '{name_of(node)}') cannot be trained through: it has no PyTorch form"
            )


class GraphModule(torch.nn.Module):  # type: ignore[misc]  # PyTorch has no types here
    """A plain model (`graph.plain`) as PyTorch computes it; half precision is computed in single.

    Calling it takes the model's inputs in order, and returns a dict by name of its outputs and of `also`.
    """

    def __init__(
        self, model: "ir.Model", learnt: Collection[str], also: Sequence[str] = (), *, keep_zeros: bool = False
    ) -> None:
        """Copy the weights.

        Args:
            model: it is not changed.
            learnt: names of stored tensors that are parameters; the others stay.
            also: names of values wanted beside the outputs.
            keep_zeros: keep weights that are zero at zero.

        Raises:
            UnsupportedError: if a node has no PyTorch function, or a tensor is of a type PyTorch does not have.
        """
        super().__init__()
        check_ops(model)
        self._inputs = tuple(str(one.name) for one in inputs_of(model))
        self._wanted = tuple(dict.fromkeys([*(str(one.name) for one in model.graph.outputs), *also]))
        self._steps = _steps(model, frozenset(self._wanted))
        self.places: dict[str, str] = {}
        """Where learnt tensors lie: the parameter's name by the tensor's."""
        self._fixed: dict[str, str] = {}
        for at, (name, value) in enumerate(model.graph.initializers.items()):
            tensor = _tensor(name, value.const_value)
            if name in learnt:
                self.places[name] = f"learnt_{at}"
                parameter = torch.nn.Parameter(tensor)
                self.register_parameter(self.places[name], parameter)
                if keep_zeros and not bool(tensor.all()):
                    parameter.register_hook(_keeper(tensor != 0))
            else:
                self._fixed[name] = f"fixed_{at}"
                self.register_buffer(self._fixed[name], tensor, persistent=False)

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Compute the outputs.

        Raises:
            UnsupportedError: if a node cannot be computed; names it.
        """
        values: dict[str, Any] = {"": None}
        values.update((name, getattr(self, place)) for name, place in (*self._fixed.items(), *self.places.items()))
        values.update((name, _single(one)) for name, one in zip(self._inputs, inputs, strict=True))
        for step in self._steps:
            try:
                made = step.function(step.call, *[values[name] for name in step.inputs])
            except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError) as exc:
                raise step.call.refuse(f"PyTorch stops: {first_line(exc)}") from exc
            several = made if isinstance(made, (tuple, list)) else (made,)
            values.update((name, one) for name, one in zip(step.outputs, several, strict=False) if name)
            for name in step.done:
                del values[name]
        return {name: values[name] for name in self._wanted}

    def write_back(self, model: "ir.Model") -> None:
        """Put the parameters into a model of the same tensors, in the dtypes these have there.

        Raises:
            TrainingError: if one does not fit its dtype.
        """
        for name, place in self.places.items():
            array = getattr(self, place).detach().cpu().numpy().astype(np.float64)
            value = model.graph.initializers[name]
            replaced(value, array)
            if not np.isfinite(np.asarray(value.const_value.numpy(), np.float64)).all():  # type: ignore[union-attr]  # it was replaced
                raise TrainingError(f"the trained weights '{name}' are no numbers that {value.dtype} holds")


def _keeper(mask: Tensor) -> Any:  # noqa: ANN401  # a hook
    return lambda gradient: gradient * mask


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in {torch.float16, torch.bfloat16} else tensor


def _tensor(name: str, stored: "ir.TensorProtocol | None") -> Tensor:
    if stored is None:
        raise UnsupportedError(f"the stored tensor '{name}' has no values")
    kind = stored.dtype.name
    if kind not in DTYPES:
        raise UnsupportedError(f"the stored tensor '{name}' is of {kind}, which PyTorch computes nothing with")
    array = np.asarray(stored.numpy())
    if stored.dtype.is_floating_point():
        array = array.astype(np.float64 if kind == "DOUBLE" else np.float32)
    return torch.from_numpy(np.array(array.astype(array.dtype.newbyteorder("="))))


def _steps(model: "ir.Model", wanted: frozenset[str]) -> tuple[_Step, ...]:
    last = {str(one.name): at for at, node in enumerate(model.graph) for one in node.inputs if one is not None}
    steps = []
    for at, node in enumerate(model.graph):
        inputs = tuple("" if one is None else str(one.name) for one in node.inputs)
        outputs = tuple(str(one.name or "") for one in node.outputs)
        dropped = {name for name in (*inputs, *outputs) if name and last.get(name, at) == at} - wanted
        steps.append(
            _Step(
                call=_call(model, node),
                function=FUNCTIONS[node.op_type],
                inputs=inputs,
                outputs=outputs,
                done=tuple(sorted(dropped)),
            )
        )
    return tuple(steps)


def _call(model: "ir.Model", node: "ir.Node") -> Call:
    versions = [number for domain, number in model.graph.opset_imports.items() if domain in ONNX]
    return Call(
        op=node.op_type,
        name=name_of(node),
        opset=max(versions),
        attributes={name: attribute.value for name, attribute in node.attributes.items()},
        outputs=sum(bool(one.name) for one in node.outputs),
    )
