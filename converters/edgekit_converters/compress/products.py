"""A layer as what it is in its weights: a linear map, its adjoint, and how a change of the weights is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit_converters.compress.least_squares import Floats
from edgekit_converters.compress.places import places_in, window_of
from edgekit_converters.graph.biases import add_to_bias
from edgekit_converters.graph.oracle import run_session, session
from edgekit_converters.graph.weights import Reals, Weights, replaced
from edgekit_converters.model import Array

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Product:
    """A `Conv`, or a `Gemm` or `MatMul` with its weights on the right; see `channel_refit.refusal`.

    Weights are as the graph has them, but for a `Gemm`: these are a matrix [inputs, outputs] that is not scaled.
    """

    layer: Weights

    @property
    def axis(self) -> int:
        """Which axis of the result its channels lie on."""
        return self.layer.result_axis

    @property
    def weights(self) -> Floats:
        """The weights."""
        array = self.layer.array
        if not self._convolves:
            array = (array if self.layer.axis == 1 else array.T) * self._factor
        return array.astype(np.float32)

    @property
    def _convolves(self) -> bool:
        return self.layer.node.op_type == "Conv"

    @property
    def _groups(self) -> int:
        return (self.layer.node.attributes.get_int("group", 1) or 1) if self._convolves else 1

    @property
    def _factor(self) -> float:
        node = self.layer.node
        return (node.attributes.get_float("alpha", 1.0) or 1.0) if node.op_type == "Gemm" else 1.0

    def count(self, array: Array) -> int:
        """Return how many values the rows of an input have."""
        seen = places_in(self.layer.node, array)
        return seen.count * seen.columns * seen.groups

    def rows(self, array: Array) -> Floats:
        """Return the rows [groups, n, columns] of an input."""
        return np.stack(places_in(self.layer.node, array).rows())

    def results(self, array: Floats, weights: Floats) -> Floats:
        """Return what an input and weights make, without a bias."""
        if not self._convolves:
            return np.asarray(array @ weights)
        return np.asarray(self._run("Conv", array, weights, array.shape[2:]))

    def back(self, results: Floats, weights: Floats, shape: Sequence[int]) -> Floats:
        """Return the adjoint of `results` in the input, of that shape, at some results."""
        if not self._convolves:
            return np.asarray(results @ weights.T)
        return np.asarray(self._run("ConvTranspose", results, weights, shape[2:]))

    def weights_back(self, rows: Floats, results: Floats) -> Floats:
        """Return the adjoint of `results` in the weights, for an input of those rows, at some results."""
        flat = np.moveaxis(results, self.axis, -1)
        apart = np.moveaxis(flat.reshape(rows.shape[1], self._groups, -1), 1, 0)
        made: Floats = rows.swapaxes(1, 2) @ apart
        if not self._convolves:
            return np.asarray(made[0])
        return np.asarray(made.swapaxes(1, 2).reshape(self.layer.array.shape), np.float32)

    def biased(self, results: Floats, bias: Floats) -> Floats:
        """Return results with a bias [channels] added."""
        return np.asarray(results + (bias.reshape(-1, *[1] * (results.ndim - 2)) if self._convolves else bias))

    def bias_back(self, results: Floats) -> Floats:
        """Return the sums of results over all but their channels."""
        return np.asarray(np.moveaxis(results, self.axis, 0).reshape(results.shape[self.axis], -1).sum(axis=1))

    def add(self, model: "ir.Model", change: Floats | Reals, bias: Floats | Reals) -> None:
        """Add to the weights and to the bias [channels]."""
        if not self._convolves:
            change = (change if self.layer.axis == 1 else change.T) / self._factor
        replaced(self.layer.value, self.layer.array + change)
        add_to_bias(model, self.layer, np.asarray(bias, np.float64))

    @cached_property
    def _sessions(self) -> dict[tuple[str, tuple[int, ...]], Any]:
        return {}

    def _run(self, op: str, array: Array, weights: Floats, sizes: Sequence[int]) -> Array:
        key = op, tuple(sizes)
        if key not in self._sessions:
            self._sessions[key] = self._session(op, sizes)
        (made,) = run_session(self._sessions[key], None, {"x": array, "w": weights})
        return np.asarray(made)

    def _session(self, op: str, sizes: Sequence[int]) -> Any:  # noqa: ANN401  # an InferenceSession
        """Return one of the convolution over inputs of those sizes, or of its adjoint."""
        from onnx import TensorProto, helper

        window = window_of(self.layer.node, sizes)
        pads = [one[0] for one in window.pads] + [one[1] for one in window.pads]
        how = {"strides": window.strides, "dilations": window.dilations, "pads": pads, "group": self._groups}
        if op == "ConvTranspose":
            how["output_padding"] = window.unseen(sizes)
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "w", "y")]
        graph = helper.make_graph([helper.make_node(op, ["x", "w"], ["y"], **how)], op, values[:2], values[2:])
        opsets = [helper.make_opsetid("", 13)]
        return session(helper.make_model(graph, opset_imports=opsets, ir_version=8), optimise=True)
