"""PyTorch nets in the loop."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from edgekit_converters.errors import TrainingError
from edgekit_converters.model import Array, Arrays
from edgekit_converters.training.loader import Tree, mapped

Module = Any  # torch.nn.Module: PyTorch is not there when types are checked
Tensor = Any

_GENERATOR = "torch.generator"
_MOMENTS = "torch.adam"


class TorchTrainee:
    """A module with Adam (D. Kingma, J. Ba, ICLR 2015); `loss(outputs, target)` is a scalar tensor."""

    def __init__(self, net: Module, loss: Callable[[Tree, Tree], Tensor], clip_norm: float) -> None:
        """Take the net as it is called: with fake-quantizers in it, or plain.

        Raises:
            TrainingError: if no parameter of it is trainable.
        """
        import torch
        from torch.nn.modules.batchnorm import _BatchNorm

        self._norms = [one for one in net.modules() if isinstance(one, _BatchNorm)]
        self._net, self._loss, self._clip_norm = net, loss, clip_norm
        self._trained = {name: one for name, one in net.named_parameters() if one.requires_grad}
        if not self._trained:
            raise TrainingError("the net has no trainable parameters")
        self._optimizer = torch.optim.Adam(self._trained.values())
        self._device = device_of(net)

    def seed(self, seed: int) -> None:
        """Seed Python, NumPy's global generator, and PyTorch."""
        seed_all(seed)

    def step(self, inputs: Tree, target: Tree, rate: float, *, frozen: bool) -> float:
        """Train on one batch."""
        import torch

        self._net.train()
        if frozen:
            for module in self._norms:
                module.eval()
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad()
        loss = self._loss(call(self._net, tensors(inputs, self._device)), tensors(target, self._device))
        if loss.ndim:
            raise TrainingError(f"the loss is of shape {tuple(loss.shape)}, not one number")
        loss.backward()
        if self._clip_norm:
            torch.nn.utils.clip_grad_norm_(self._trained.values(), self._clip_norm)
        if torch.isfinite(loss):
            self._optimizer.step()
        return float(loss.detach())

    def predict(self, inputs: Tree) -> Tree:
        """Run one batch in evaluation mode."""
        import torch

        self._net.eval()
        with torch.no_grad():
            outputs = call(self._net, tensors(inputs, self._device))
        return mapped(lambda one: one.cpu().numpy() if torch.is_tensor(one) else one, outputs)

    def weights(self) -> Arrays:
        """Return parameters and buffers."""
        return {name: _array(one) for name, one in self._net.state_dict().items()}

    def set_weights(self, arrays: Arrays) -> None:
        """Set parameters and buffers."""
        self._net.load_state_dict({name: _tensor(arrays[name], one) for name, one in self._net.state_dict().items()})

    def memory(self) -> Arrays:
        """Return Adam's moments and the generator's state."""
        import torch

        moments = {
            f"{_MOMENTS}.{name}.{key}": _array(value)
            for name, one in self._trained.items()
            for key, value in self._optimizer.state.get(one, {}).items()
        }
        return {_GENERATOR: torch.get_rng_state().numpy().copy(), **moments}

    def set_memory(self, arrays: Arrays) -> None:
        """Set Adam's moments and the generator's state."""
        import torch

        torch.set_rng_state(torch.from_numpy(np.array(arrays[_GENERATOR])))
        for name, one in self._trained.items():
            for key in ("step", "exp_avg", "exp_avg_sq"):
                stored = arrays.get(f"{_MOMENTS}.{name}.{key}")
                if stored is not None:
                    device = "cpu" if key == "step" else one.device  # where Adam itself keeps them
                    self._optimizer.state[one][key] = torch.from_numpy(np.array(stored)).to(device)


def seed_all(seed: int) -> None:
    """Set every generator that PyTorch, a loader and its transforms draw from."""
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # users' transforms draw from the global one
    torch.manual_seed(seed)


def tensors(value: Tree, device: Any) -> Tree:  # noqa: ANN401  # a torch.device
    """Return arrays as tensors, and tensors on that device."""
    import torch

    def tensor(one: Any) -> Any:  # noqa: ANN401  # whatever lies in a batch
        if isinstance(one, np.ndarray):
            one = torch.from_numpy(one)
        return one.to(device) if torch.is_tensor(one) else one

    return mapped(tensor, value)


def device_of(net: Module) -> Any:  # noqa: ANN401  # a torch.device
    """Return where the net's parameters lie.

    Raises:
        TrainingError: if it has none.
    """
    for one in net.parameters():
        return one.device
    raise TrainingError("the net has no parameters")


def call(net: Module, inputs: Tree) -> Tree:
    """Call a module: a tensor or several as its arguments, a dict by their names."""
    if isinstance(inputs, dict):
        return net(**inputs)
    return net(*inputs) if isinstance(inputs, (tuple, list)) else net(inputs)


def _array(tensor: Tensor) -> Array:
    import torch

    plain = tensor.detach().cpu()
    return np.array((plain.float() if plain.dtype == torch.bfloat16 else plain).numpy())  # which NumPy does not have


def _tensor(array: Array, like: Tensor) -> Tensor:
    import torch

    return torch.from_numpy(np.array(array)).to(device=like.device, dtype=like.dtype)
