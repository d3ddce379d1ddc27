"""A model trained to be like a teacher: by default what it was before the first step."""

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgekit_converters.compress.base import Effect, Setting, Values
from edgekit_converters.compress.figures import infer_shapes
from edgekit_converters.compress.learning.course import OPTIONS, Course, prepare, train
from edgekit_converters.compress.learning.lesson import by_teacher
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.graph import model as graph_model
from edgekit_converters.graph.plain import make_plain
from edgekit_converters.precisions import Options, number, text

if TYPE_CHECKING:
    import onnx_ir as ir


class Distill:
    """The student is the graph as it stands, pruned or not; without labels the teacher alone says what is right."""

    name = "distill"
    help = "train the weights to give what a teacher gives"
    exact = False
    options: Options = MappingProxyType(
        {
            "teacher": text("an ONNX file of the same inputs and outputs; none: the model before the first step"),
            "temperature": number(4.0, 0.1, 100.0, "by which logits are divided: the higher, the softer"),
            "alpha": number(0.7, 0.0, 1.0, "share of the teacher in the loss, the rest is the labels'; 1 without any"),
            "features": number(0.0, 0.0, 1e6, "weight of values inside being like the teacher's of the same name"),
            "attention": number(0.0, 0.0, 1e6, "weight of looking where the teacher looks; channels may differ"),
            **OPTIONS,
        }
    )

    def needs(self, values: Values) -> frozenset[str]:  # noqa: ARG002  # the port's
        """Samples and PyTorch."""
        return frozenset({"calibration", "torch"})

    def check(self, model: "ir.Model", values: Values, setting: Setting) -> str | None:
        """Refuse what has no PyTorch form, and a teacher that is not for this model."""
        try:
            _course(model, values, setting, model)
        except UnsupportedError as exc:
            return str(exc)
        return None

    def apply(self, model: "ir.Model", values: Values, setting: Setting) -> Effect:
        """Train."""
        return train(model, values, setting, _course(model, values, setting, _plain(setting.source)))


def _course(model: "ir.Model", values: Values, setting: Setting, before: "ir.Model") -> Course:
    teacher = _plain(Path(str(values["teacher"]))) if values["teacher"] else before
    lesson = by_teacher(
        model,
        teacher,
        setting.labels,
        str(values["loss"]),
        alpha=float(values["alpha"]),
        temperature=float(values["temperature"]),
        features=float(values["features"]),
        attention=float(values["attention"]),
    )
    return prepare(model, values, setting, lesson, teacher)


def _plain(file: Path) -> "ir.Model":
    model = graph_model.load(file)
    make_plain(model)
    infer_shapes(model)
    return model
