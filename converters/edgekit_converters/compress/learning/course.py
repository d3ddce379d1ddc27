"""A graph trained on calibration data: all that techniques with gradients share but what is learnt."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit_converters.compress.base import Change, Effect, Setting, Values
from edgekit_converters.compress.learning.heads import KINDS, Head
from edgekit_converters.compress.learning.lesson import Lesson
from edgekit_converters.compress.learning.samples import AUGMENTS, Batches, Samples, Targets, check_augment, held_out
from edgekit_converters.compress.learning.score import Score
from edgekit_converters.compress.learning.teacher import Teacher
from edgekit_converters.data import run_size
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.graph import model as graph_model
from edgekit_converters.graph.reading import name_of
from edgekit_converters.graph.weights import Reals
from edgekit_converters.model import Array
from edgekit_converters.precisions import Options, choice, flag, number
from edgekit_converters.training import loop
from edgekit_converters.training.schedule import Schedule

if TYPE_CHECKING:
    import onnx_ir as ir

OPTIONS: Options = MappingProxyType(
    {
        "epochs": number(10, 1, 10_000, "how often the samples are gone through"),
        "rate": number(2e-4, 1e-8, 0.9, "learning rate of Adam at its highest"),
        "batch": number(32, 1, 1 << 16, "samples of a step"),
        "hold": number(0.1, 0.0, 0.9, "share of the samples that the best epoch is chosen by; 0: the last is taken"),
        "patience": number(0, 0, 10_000, "epochs without a better one before it ends; 0: it never does"),
        "clip": number(1.0, 0.0, 1e9, "length of the gradient at most; 0: any"),
        "augment": choice(
            *AUGMENTS, text="what is done to samples: noise, mixtures, images moved, or moved and mirrored"
        ),
        "loss": choice(*KINDS, text="what the outputs are; auto: as the labels or a softmax say"),
        "keep-zeros": flag("leave weights that are zero at zero"),
    }
)
"""Those of everything that trains."""

_COMPARED = 4  # samples
_TOLERANCE = 1e-3
"""Of an output's largest value: float32 in other kernels; what computes something else is far beyond."""
_HALF_TOLERANCE = 3e-2
"""ONNX Runtime rounds half precision after every node, the net never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """All that a training begins with."""

    net: Any
    """A `torch_graph.samples.SampleWise`."""
    learnt: Mapping[str, "list[ir.Node]"]
    samples: Samples
    lesson: Lesson
    targets: Targets
    batch: int


def prepare(
    model: "ir.Model", values: Values, setting: Setting, lesson: Lesson, teacher: "ir.Model | None" = None
) -> Course:
    """Make a model a net, and look whether it computes what it should.

    Raises:
        UnsupportedError: if an operator has no PyTorch form or computes something else there, nothing is learnt, or
            the samples do not do.
    """
    from edgekit_converters.compress.torch_graph.learnt import learnt
    from edgekit_converters.compress.torch_graph.module import GraphModule
    from edgekit_converters.compress.torch_graph.samples import SampleWise

    arrays = dict(setting.calibration or {})
    inputs, specs = tuple(arrays.values()), graph_model.specs(graph_model.inputs_of(model))
    check_augment(str(values["augment"]), inputs)
    weights = learnt(model, setting.may_change)
    if not weights:
        raise UnsupportedError("it has no weights that are learnt")
    graph = GraphModule(model, weights, lesson.of_student, keep_zeros=bool(values["keep-zeros"]))
    net = SampleWise(graph, specs, arrays)
    _check_same(model, net, inputs, setting)
    size = run_size(arrays, specs)
    targets: Targets = lambda _inputs: {}  # noqa: E731  # what no teacher says
    if teacher is not None:
        targets = Teacher(teacher, lesson.of_teacher, setting.work / "teacher.onnx")
        targets(tuple(one[:size] for one in inputs))
    return Course(
        net=net,
        learnt=weights,
        samples=Samples(inputs=inputs, labels=_labels(lesson, setting, mixed=values["augment"] == "mixup")),
        lesson=lesson,
        targets=targets,
        batch=-(-int(values["batch"]) // size) * size,
    )


def train(model: "ir.Model", values: Values, setting: Setting, course: Course) -> Effect:
    """Train, and put the weights of the best epoch into the model.

    Raises:
        TrainingError: if the loss is not a number, or a checkpoint is damaged.
        CheckpointError: if one cannot be written.
    """
    from edgekit_converters.training.torch_net import TorchTrainee

    rest, judged = held_out(course.samples, float(values["hold"]), setting.seed)
    score = Score(course.lesson, judged, course.targets, course.batch) if len(judged) else None
    digest = _digest(model, values, setting, course)
    plan = loop.Plan(
        train_data=Batches(samples=rest, size=course.batch, augment=str(values["augment"]), targets=course.targets),
        options=Schedule(
            epochs=int(values["epochs"]),
            learning_rate=float(values["rate"]),
            clip_norm=float(values["clip"]),
            patience=int(values["patience"]),
            checkpoint=(setting.kept or setting.work) / f"training-{digest[:16]}.npz",
            seed=setting.seed,
        ),
        evaluate=score,
        on_event=setting.on_event,
        of={"training": digest},
    )
    went = loop.run(TorchTrainee(course.net, course.lesson.loss, float(values["clip"])), plan)
    before = {name: _array(model, name) for name in course.learnt}
    course.net.graph.write_back(model)
    figures = {"samples": len(rest), "held_out": len(judged), "epochs": len(went.losses), "best": went.best_epoch}
    losses = {"loss_first": went.losses[0], "loss_last": went.losses[-1]}
    scores = {"score_before": went.scores[0], "score_after": max(went.scores)} if score is not None else {}
    return Effect(
        changes=_changes(course, before, model),
        figures={**figures, **losses, "score": score.name if score is not None else None, **scores},
    )


def _changes(course: Course, before: Mapping[str, Reals], model: "ir.Model") -> tuple[Change, ...]:
    """Return how far the weights of each layer went, as a share of their length."""
    squares: dict[str, list[float]] = {}
    for name, nodes in course.learnt.items():
        moved = _array(model, name) - before[name]
        for node in nodes:
            sums = squares.setdefault(name_of(node), [0.0, 0.0])
            sums[0] += float((moved**2).sum())
            sums[1] += float((before[name] ** 2).sum())
    return tuple(
        Change(
            layer=layer,
            what="trained" if far else "left as it was by the best epoch",
            figures={"moved": float(np.sqrt(far / length)) if length else None},
        )
        for layer, (far, length) in squares.items()
    )


def _array(model: "ir.Model", name: str) -> Reals:
    return np.asarray(model.graph.initializers[name].const_value.numpy(), np.float64)  # type: ignore[union-attr]  # it is stored


def _labels(lesson: Lesson, setting: Setting, *, mixed: bool) -> dict[str, Array]:
    """Return the labels as the loss takes them: class numbers as int64, as shares where they are mixed, or floats."""
    count = len(next(iter((setting.calibration or {}).values())))
    made: dict[str, Array] = {}
    for head in lesson.heads:
        if head.labels is None:
            continue
        array = (setting.labels or {})[head.labels]
        if len(array) != count:
            raise UnsupportedError(f"there are {len(array)} labels '{head.labels}' for {count} samples")
        made[head.labels] = _prepared(array, head, mixed=mixed)
    return made


def _prepared(array: Array, head: Head, *, mixed: bool) -> Array:
    if not head.numbers:
        return array.astype(np.float32)
    numbers = array.reshape(len(array), *(size for size in array.shape[1:] if size != 1)).astype(np.int64)
    if not mixed:
        return numbers
    if head.classes is None:
        raise UnsupportedError(f"augment=mixup needs to know how many classes output '{head.output}' has")
    shares = np.eye(head.classes, dtype=np.float32)[numbers]
    return np.moveaxis(shares, -1, min(head.axis or 1, shares.ndim - 1))


def _check_same(model: "ir.Model", net: Any, inputs: tuple[Array, ...], setting: Setting) -> None:  # noqa: ANN401  # a module
    """Compare the net's outputs with ONNX Runtime's."""
    import torch

    names = [str(one.name) for one in model.graph.outputs]
    some = tuple(one[:_COMPARED] for one in inputs)
    wanted = Teacher(model, names, setting.work / "compared.onnx")(some)
    with torch.no_grad():
        got = net(*(torch.from_numpy(np.array(one)) for one in some))
    half = any(one.dtype is not None and one.dtype.name in {"FLOAT16", "BFLOAT16"} for one in _values(model))
    for name in names:
        array, other = np.asarray(wanted[name], np.float64), got[name].double().numpy()
        largest = float(np.max(np.abs(array), initial=1e-6))
        apart = float(np.max(np.abs(array - other), initial=0.0)) if array.shape == other.shape else np.inf
        if not apart <= largest * (_HALF_TOLERANCE if half else _TOLERANCE):
            raise UnsupportedError(f"PyTorch computes its output '{name}' with a difference of {apart:.2g}")


def _values(model: "ir.Model") -> "list[ir.Value]":
    return [
        *model.graph.inputs,
        *model.graph.initializers.values(),
        *(one for node in model.graph for one in node.outputs),
    ]


def _digest(model: "ir.Model", values: Values, setting: Setting, course: Course) -> str:
    """Return what tells a training from any other: model, teacher, data, options, seed."""
    found = hashlib.sha256(repr((sorted(values.items()), setting.seed, sorted(setting.only or ()))).encode())
    file = setting.work / "student.onnx"
    graph_model.save(model, file)
    found.update(graph_model.fingerprint(file, model)["sha256"].encode())
    if isinstance(course.targets, Teacher):
        found.update(course.targets.digest.encode())
    for array in (*course.samples.inputs, *course.samples.labels.values()):
        found.update(repr((array.shape, array.dtype.str)).encode() + np.ascontiguousarray(array).tobytes())
    return found.hexdigest()
