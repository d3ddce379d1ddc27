"""From a model's outputs to an answer, as `Postprocess` describes it."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from edgekit_agent.errors import ModelError
from edgekit_agent.observing import classifying
from edgekit_agent.placing import Placement
from edgekit_agent.postprocess import Output, Postprocess
from edgekit_agent.quantize import to_real
from edgekit_agent.runtimes.base import Array, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

TOP = 5
SHOWN_VALUES = 16
_DIGITS = 5


class Scored(NamedTuple):
    """A class and its score."""

    number: int
    score: float


class Found(NamedTuple):
    """A box: a class, its score, and corners in pixels (x1, y1, x2, y2), of the source where its size is known."""

    number: int
    score: float
    corners: tuple[float, float, float, float]


class Answer(NamedTuple):
    """What a model says, the best first; `outputs` are what it was taken from."""

    outputs: Sequence[Array]
    classes: Sequence[Scored] = ()
    boxes: Sequence[Found] = ()


class Taker(Protocol):
    """From outputs to an answer; `placement` is where the picture's pixels went, if there is one."""

    def __call__(self, outputs: Sequence[Array], placement: Placement | None = None, /) -> Answer:
        """Return the answer.

        Raises:
            ModelError: if the outputs hold what is no number, or do not fit what is described.
        """
        ...


class Answering:
    """Takes the answers of one model by `answer`; `kind` is `classes`, `boxes` or `raw`; `softmax` is of its scores."""

    def __init__(
        self,
        how: Postprocess,
        outputs: Sequence[TensorSpec],
        *,
        labels: Sequence[str] = (),
        picture: tuple[int, int] | None = None,
    ) -> None:
        """Look whether the model has the outputs that are described.

        Args:
            how: the description.
            outputs: of the model.
            labels: names of classes, in their order.
            picture: height and width of the model's image input, in pixels, where it has one of a fixed size.

        Raises:
            ModelError: if it has not.
        """
        self._specs, self._labels = tuple(outputs), tuple(labels)
        self.kind = how.kind
        self.softmax = how.activation == "softmax"
        classifies = classifying(outputs)
        if classifies is not None and outputs[classifies].shape[0] > 1:
            classifies = None  # several samples at a time have several answers
        if self.kind == "auto":
            self.kind = "raw" if classifies is None else "classes"
        if self.kind == "classes":
            at = classifies if how.output is None else output_of(outputs, how.output)
            if at is None:
                raise ModelError("no output of the model has several values a sample: name one as postprocess.output")
            classes = _Classes(how, at, outputs[at])
            self.answer: Taker = classes.best if classes.straight else classes.several
        elif self.kind == "boxes":
            from edgekit_agent.detecting import Detecting

            detecting = Detecting(how, outputs, picture)
            self.answer = lambda given, placement=None: Answer(given, boxes=detecting(given, placement))
        else:
            self.answer = lambda given, _placement=None: Answer(given)

    def told(self, answer: Answer) -> dict[str, Any]:
        """Return an answer as JSON values."""
        if self.kind == "classes":
            return {"classes": [self._named(one.number, one.score) for one in answer.classes]}
        if self.kind == "boxes":
            return {
                "boxes": [
                    {**self._named(one.number, one.score), "box": [round(side, 1) for side in one.corners]}
                    for one in answer.boxes
                ]
            }
        return {"outputs": [_summary(one, spec) for one, spec in zip(answer.outputs, self._specs, strict=True)]}

    def _named(self, number: int, score: float) -> dict[str, Any]:
        label = {"label": self._labels[number]} if 0 <= number < len(self._labels) else {}
        return {"class": number, **label, "score": round(score, _DIGITS)}


class _Classes:
    """The best classes of an output."""

    def __init__(self, how: Postprocess, at: int, spec: TensorSpec) -> None:
        self._at, self._spec = at, spec
        self._top = how.top or (1 if how.kind == "auto" else TOP)
        self._activation = how.activation
        self._threshold = -math.inf if how.threshold is None else how.threshold
        # one scale for all classes keeps their order: no need of all real values
        self.straight = self._top == 1 and how.activation == "none" and len(spec.scale) < 2  # noqa: PLR2004
        self._scale = spec.scale[0] if spec.scale else 0.0
        self._zero = spec.zero_point[0] if spec.zero_point else 0

    def best(self, outputs: Sequence[Array], _placement: Placement | None = None, /) -> Answer:
        output = outputs[self._at]
        if not output.size:
            return Answer(outputs)
        number = int(output.argmax())
        stored = output.item(number)
        score = (stored - self._zero) * self._scale if self._scale else float(stored)
        if not math.isfinite(score):
            raise no_numbers(self._spec)
        return Answer(outputs, (Scored(number, score),) if score >= self._threshold else ())

    def several(self, outputs: Sequence[Array], _placement: Placement | None = None, /) -> Answer:
        if not outputs[self._at].size:
            return Answer(outputs)
        scores = activated(real_values(outputs[self._at], self._spec).reshape(-1), self._activation)
        order = np.argsort(-scores, kind="stable")[: self._top]
        pairs = zip(order.tolist(), scores[order].tolist(), strict=True)
        return Answer(outputs, [Scored(number, score) for number, score in pairs if score >= self._threshold])


def real_values(output: Array, spec: TensorSpec) -> "Floats":
    """Return an output's real values as float32.

    Raises:
        ModelError: if one is no number.
    """
    real = np.asarray(to_real(output, spec), np.float32)
    if not np.isfinite(real).all():
        raise no_numbers(spec)
    return real


def activated(values: "Floats", activation: str) -> "Floats":
    """Return scores [..., classes] after softmax over the classes, or sigmoid of each, or as they are."""
    if activation == "softmax":
        powers = np.exp(values - values.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)
    if activation == "sigmoid":
        # the power of a number below zero has no overflow
        power = np.exp(-np.abs(values))
        return np.asarray(np.where(values >= 0, 1, power) / (1 + power), np.float32)
    return values


def output_of(outputs: Sequence[TensorSpec], wanted: Output) -> int:
    """Return the number of an output by its name or number.

    Raises:
        ModelError: if the model has none.
    """
    names = [spec.name for spec in outputs]
    if isinstance(wanted, str) and wanted in names:
        return names.index(wanted)
    if isinstance(wanted, int) and wanted < len(names):
        return wanted
    error = ModelError(f"postprocess names output '{wanted}', which the model does not have")
    error.add_note(f"its outputs are: {', '.join(names)}")
    raise error


def no_numbers(spec: TensorSpec) -> ModelError:
    """Return the error of an output that holds what is no number."""
    return ModelError(f"output '{spec.name}' holds values that are no numbers")


def _summary(output: Array, spec: TensorSpec) -> dict[str, Any]:
    real = real_values(output, spec)
    told: dict[str, Any] = {"name": spec.name, "shape": list(output.shape)}
    if real.size:
        figures = {"min": real.min(), "max": real.max(), "mean": real.mean(dtype=np.float64)}
        told |= {name: float(f"{value:.6g}") for name, value in figures.items()}
    if real.size <= SHOWN_VALUES:
        told["values"] = [float(f"{value:.6g}") for value in real.reshape(-1).tolist()]
    return told
