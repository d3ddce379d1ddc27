"""A graph fed with any number of samples, whatever batch it was made for."""

from collections.abc import Mapping, Sequence

import torch

from edgekit_converters.compress.torch_graph.calls import Tensor
from edgekit_converters.data import is_whole, run_size
from edgekit_converters.model import Arrays, TensorSpec


class SampleWise(torch.nn.Module):  # type: ignore[misc]  # PyTorch has no types here
    """Takes inputs [N, ...] to outputs [N, ...], as `data.runs` cuts samples into runs.

    Runs of a fixed batch are mapped over (`torch.vmap`), so that a graph made for one sample trains on many at once.
    """

    def __init__(self, graph: torch.nn.Module, inputs: Sequence[TensorSpec], arrays: Arrays) -> None:
        """Take a `GraphModule`, what it takes, and samples that tell which inputs are given whole."""
        super().__init__()
        self.graph = graph
        self._whole = tuple(is_whole(arrays[one.name], one) for one in inputs)
        fixed = any(self._whole) or any(one.shape and one.shape[0] is not None for one in inputs)
        self._batch = run_size(arrays, inputs) if fixed else None

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Return all that the graph returns, by name."""
        count, size = len(inputs[0]), self._batch
        if size is None:
            free: dict[str, Tensor] = self.graph(*inputs)
            return free
        runs = -(-count // size)
        cut = [one if whole else _runs(one, runs, size) for one, whole in zip(inputs, self._whole, strict=True)]
        made: Mapping[str, Tensor] = torch.vmap(self.graph)(*cut)
        batched = not any(self._whole)
        return {name: _samples(one, count, size) if batched else one for name, one in made.items()}


def _runs(x: Tensor, runs: int, size: int) -> Tensor:
    """Return samples as [runs, size, ...], filled up with the last."""
    missing = runs * size - len(x)
    whole = torch.cat([x, x[-1:].expand(missing, *x.shape[1:])]) if missing else x
    return whole.reshape(runs, size, *x.shape[1:])


def _samples(x: Tensor, count: int, size: int) -> Tensor:
    """Return what runs gave as samples; what has no batch of its own is a run's."""
    if x.dim() > 1 and x.shape[1] == size:
        return x.flatten(0, 1)[:count]
    return x
