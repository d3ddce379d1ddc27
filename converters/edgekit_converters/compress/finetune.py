"""A model trained on with labelled samples: after a technique that took something from it."""

from typing import TYPE_CHECKING

from edgekit_converters.compress.base import Effect, Setting, Values
from edgekit_converters.compress.learning.course import OPTIONS, Course, prepare, train
from edgekit_converters.compress.learning.lesson import by_labels
from edgekit_converters.errors import UnsupportedError

if TYPE_CHECKING:
    import onnx_ir as ir


class Finetune:
    """Weights move until the outputs are as the labels say; the graph stays as it is."""

    name = "finetune"
    help = "train the weights on labelled calibration data"
    exact = False
    options = OPTIONS

    def needs(self, values: Values) -> frozenset[str]:  # noqa: ARG002  # the port's
        """Samples, what is right for them, and PyTorch."""
        return frozenset({"calibration", "labels", "torch"})

    def check(self, model: "ir.Model", values: Values, setting: Setting) -> str | None:
        """Refuse what has no PyTorch form, and labels that do not fit."""
        try:
            _course(model, values, setting)
        except UnsupportedError as exc:
            return str(exc)
        return None

    def apply(self, model: "ir.Model", values: Values, setting: Setting) -> Effect:
        """Train."""
        return train(model, values, setting, _course(model, values, setting))


def _course(model: "ir.Model", values: Values, setting: Setting) -> Course:
    return prepare(model, values, setting, by_labels(model, setting.labels or {}, str(values["loss"])))
