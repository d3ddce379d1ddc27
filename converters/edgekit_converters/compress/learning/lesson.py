"""What a graph is to learn: from labels, from a teacher's outputs, from what lies inside the teacher."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgekit_converters.compress.learning import narrow
from edgekit_converters.compress.learning.heads import Head, heads_of
from edgekit_converters.compress.learning.teacher import paired
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.model import Arrays
from edgekit_converters.training import losses

if TYPE_CHECKING:
    import onnx_ir as ir

Tensor = Any  # a torch.Tensor: PyTorch is not there when types are checked
Pairs = tuple[tuple[str, str], ...]
"""Names of the student's values with those of the teacher's they are to be like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """Its loss is (1 - alpha) hard + alpha soft + features + attention, each of these means over what it compares."""

    heads: tuple[Head, ...]
    soft: Mapping[str, str]
    """The teacher's values by the student's outputs: logits of classes, or the values."""
    alpha: float = 0.0
    temperature: float = 1.0
    features: tuple[float, Pairs] = (0.0, ())
    attention: tuple[float, Pairs] = (0.0, ())

    @property
    def of_student(self) -> tuple[str, ...]:
        """The values of the student that the loss looks at."""
        inner = (name for _, pairs in (self.features, self.attention) for name, _ in pairs)
        return (*(one.output for one in self.heads), *(one.logits for one in self.heads), *inner)

    @property
    def of_teacher(self) -> tuple[str, ...]:
        """The values of the teacher that the loss looks at."""
        inner = (name for _, pairs in (self.features, self.attention) for _, name in pairs)
        return (*self.soft.values(), *inner)

    def loss(self, outputs: Mapping[str, Tensor], target: tuple[Mapping[str, Tensor], Mapping[str, Tensor]]) -> Tensor:
        """Return what a batch is wrong by; the target is labels and the teacher's values, by name."""
        labels, said = target
        total: Tensor = 0
        for head in self.heads:
            mine = answered(outputs, head)
            if head.labels is not None and self.alpha < 1:
                total = total + (1 - self.alpha) * _hard(mine, labels[head.labels], head)
            if head.output in self.soft and self.alpha:
                total = total + self.alpha * self._soft(mine, said[self.soft[head.output]], head)
        for (weight, pairs), apart in ((self.features, losses.values), (self.attention, losses.attention)):
            for mine, other in pairs:
                total = total + weight / len(pairs) * apart(outputs[mine], said[other])
        return total

    def _soft(self, mine: Tensor, wanted: Tensor, head: Head) -> Tensor:
        wanted = wanted.reshape(mine.shape).to(mine.dtype)
        if head.axis is None:
            return losses.values(mine, wanted)
        return losses.soft_classes(mine, wanted, self.temperature, head.axis)


def answered(outputs: Mapping[str, Tensor], head: Head) -> Tensor:
    """Return an output as it is learnt: logits where it is classes."""
    whole = outputs[head.output]
    return whole if head.axis is None else outputs[head.logits].reshape(whole.shape)


def _hard(mine: Tensor, labels: Tensor, head: Head) -> Tensor:
    if head.axis is None:
        return losses.values(mine, labels.reshape(mine.shape).to(mine.dtype))
    if labels.is_floating_point():
        return losses.classes(mine, labels.reshape(mine.shape), head.axis)
    return losses.classes(mine, labels.reshape(*mine.shape[: head.axis], *mine.shape[head.axis + 1 :]), head.axis)


def by_labels(student: "ir.Model", labels: Arrays, kind: str) -> Lesson:
    """Return a lesson without a teacher.

    Raises:
        UnsupportedError: if the labels do not fit the outputs.
    """
    return Lesson(heads=heads_of(student, labels, kind), soft={})


def by_teacher(  # noqa: PLR0913  # what distillation is told
    student: "ir.Model",
    teacher: "ir.Model",
    labels: Arrays | None,
    kind: str,
    *,
    alpha: float,
    temperature: float,
    features: float,
    attention: float,
) -> Lesson:
    """Return a lesson with a teacher; without labels it alone says what is right.

    Raises:
        UnsupportedError: if teacher and student do not take or give the same, or have nothing inside to compare.
    """
    pairs = paired(student, teacher)
    theirs = {one.output: one for one in heads_of(teacher, None, "auto")}
    if labels is None and kind == "auto" and any(theirs[one].is_classes for one in pairs.values() if one in theirs):
        kind = "classes"
    heads = tuple(one for one in heads_of(student, labels, kind) if pairs.get(one.output) in theirs)
    if not heads:
        raise UnsupportedError("the teacher has no output that one of the student's is to be like")
    lesson = Lesson(
        heads=heads,
        soft={one.output: _said(one, theirs[pairs[one.output]]) for one in heads},
        alpha=alpha if labels is not None else 1.0,
        temperature=temperature,
    )
    if features:
        lesson = replace(lesson, features=(features, _some("features", narrow.same_values(student, teacher))))
    if attention:
        lesson = replace(lesson, attention=(attention, _some("attention", narrow.same_places(student, teacher))))
    return lesson


def _said(student: Head, teacher: Head) -> str:
    return teacher.output if student.axis is None else teacher.logits


def _some(option: str, pairs: Pairs) -> Pairs:
    if not pairs:
        alike = {"features": "name and shape", "attention": "height and width"}[option]
        raise UnsupportedError(f"{option} needs values of the same {alike} in teacher and student, where all passes")
    return pairs
