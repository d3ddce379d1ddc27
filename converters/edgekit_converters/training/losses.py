"""What a student is wrong by: against labels, against its teacher, against what lies inside the teacher.

Sources: G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015 (temperature, hard and
soft); A. Romero et al., "FitNets", ICLR 2015 (features); S. Zagoruyko, N. Komodakis, "Paying More Attention to
Attention", ICLR 2017 (attention maps). Every function takes and gives tensors of PyTorch.
"""

from typing import Any

Tensor = Any  # a torch.Tensor: PyTorch is not there when types are checked

_LEAST_VARIANCE = 1e-6


def soft_classes(student: Tensor, teacher: Tensor, temperature: float, axis: int = -1) -> Tensor:
    """Return T² times the Kullback-Leibler divergence of softened classes, a mean over samples and places.

    Args:
        student: logits, the classes along `axis`.
        teacher: logits of the same shape.
        temperature: T: the higher, the more the wrong classes' order counts.
        axis: that of the classes.
    """
    from torch.nn import functional

    said, wanted = (functional.log_softmax(one / temperature, dim=axis) for one in (student, teacher))
    apart = functional.kl_div(said, wanted, reduction="none", log_target=True).sum(dim=axis)
    return temperature**2 * apart.mean()


def values(student: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean squared error, in units of the variance of what is wanted."""
    return ((student - wanted) ** 2).mean() / wanted.detach().var(correction=0).clamp_min(_LEAST_VARIANCE)


def classes(student: Tensor, labels: Tensor, axis: int = -1) -> Tensor:
    """Return the mean cross entropy of logits with class numbers, or with shares of the classes (floats)."""
    from torch.nn import functional

    said = functional.log_softmax(student, dim=axis)
    if labels.is_floating_point():
        return -(labels * said).sum(dim=axis).mean()
    return -said.gather(axis, labels.long().unsqueeze(axis)).mean()


def attention(student: Tensor, teacher: Tensor) -> Tensor:
    """Return how far apart two images [N, channels, ...] look at their places; the channels may differ in number."""
    from torch.nn import functional

    maps = [functional.normalize((one * one).mean(dim=1).flatten(1), dim=1) for one in (student, teacher)]
    return ((maps[0] - maps[1]) ** 2).sum(dim=1).mean()
