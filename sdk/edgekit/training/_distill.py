"""`edgekit.distill`: a PyTorch net trained to give what another one gives."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edgekit._events import OnEvent, ignore
from edgekit.errors import UsageError
from edgekit.training._options import TrainOptions
from edgekit.training._train import Loss, Model, Trained, framework_of, train
from edgekit_converters.errors import TrainingError
from edgekit_converters.training import loader, losses
from edgekit_converters.training.loader import Batches, Tree
from edgekit_converters.training.loop import Evaluate, Plan


def distill(  # noqa: PLR0913  # two nets, data, and how
    teacher: Model,
    student: Model,
    train_data: Batches,
    loss: Loss | None = None,
    options: TrainOptions | None = None,
    *,
    temperature: float = 4.0,
    alpha: float = 0.7,
    evaluate: Evaluate | None = None,
    on_event: OnEvent = ignore,
) -> Trained:
    """Train a PyTorch net on a teacher's softened classes (G. Hinton et al., 2015), and on labels, given a `loss`.

    Args:
        teacher: a `torch.nn.Module` that takes what the student takes; it stays as it is.
        student: a `torch.nn.Module`, trained in place. Outputs of both are logits [N, ..., classes], one or several.
        train_data: batches of (inputs, target), as for `finetune`; without `loss` the target is not looked at.
        loss: `loss(outputs, target)`; None learns from the teacher alone.
        options: how to train.
        temperature: by which logits are divided: the higher, the more the order of the wrong classes counts.
        alpha: the teacher's share of the loss; the rest is that of the labels.
        evaluate: as for `finetune`.
        on_event: progress.

    Raises:
        UsageError: if an option is wrong or a model is no PyTorch net.
        DataError: if the data is no batches, outputs do not match, or a loss is not finite.
        EnvironmentMissingError: if the checkpoint cannot be written.
    """
    for name, model in (("teacher", teacher), ("student", student)):
        if framework_of(model) != "torch":
            raise UsageError(f"the {name} is no torch.nn.Module, and only these can be distilled")
    if not temperature > 0:
        raise UsageError(f"temperature {temperature} is not above 0")
    if not 0 <= alpha <= 1:
        raise UsageError(f"alpha {alpha} is not between 0 and 1")
    share = alpha if loss is not None else 1.0

    def both(outputs: Tree, target: Tree) -> Any:  # noqa: ANN401  # a tensor
        labels, said = target
        total = share * _soft(outputs, said, temperature)
        return total + (1 - share) * loss(outputs, labels) if loss is not None else total

    plan = Plan(
        train_data=_Taught(train_data, teacher),
        options=options or TrainOptions(),
        evaluate=evaluate,
        on_event=on_event,
        of={"temperature": temperature, "alpha": share},
    )
    return train(student, both, plan)


@dataclass(frozen=True, slots=True)
class _Taught:
    """The user's batches with what the teacher says beside the target."""

    data: Batches
    teacher: Model

    def __len__(self) -> int:
        return loader.length(self.data) or 0

    def __iter__(self) -> Iterator[tuple[Tree, tuple[Tree, Tree]]]:
        import torch

        from edgekit_converters.training.torch_net import call, device_of, tensors

        loader.check_again(self.data)
        self.teacher.eval()
        for inputs, target in loader.batches(self.data, 0):
            with torch.no_grad():
                said = call(self.teacher, tensors(inputs, device_of(self.teacher)))
            yield inputs, (target, said)


def _soft(outputs: Tree, said: Tree, temperature: float) -> Any:  # noqa: ANN401  # a tensor
    mine, wanted = loader.leaves(outputs), loader.leaves(said)
    shapes, others = ([tuple(one.shape) for one in side] for side in (mine, wanted))
    if shapes != others:
        raise TrainingError(f"the student's outputs are of shapes {shapes}, the teacher's of {others}")
    parts = [losses.soft_classes(one, other, temperature) for one, other in zip(mine, wanted, strict=True)]
    return sum(parts) / len(parts)
