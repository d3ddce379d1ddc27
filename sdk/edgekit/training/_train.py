"""`edgekit.train_quantized` and `edgekit.finetune`: one loop for both frameworks, told apart by the model's type."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from edgekit._events import Event, OnEvent, ignore
from edgekit.errors import DataError, EdgeKitError, EnvironmentMissingError, UsageError
from edgekit.training._options import TrainOptions, check_precision
from edgekit_converters.errors import CheckpointError, TrainingError
from edgekit_converters.training import loader, loop
from edgekit_converters.training.loader import Batches, Tree
from edgekit_converters.training.loop import Course, Evaluate, Plan

Model = Any  # a torch.nn.Module, keras.Model or tf_keras.Model: none is there when types are checked
Loss = Callable[[Tree, Tree], Any]
Saver = Callable[[Path], None]

_CALIBRATION_SAMPLES = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trained model and how it went.

    Attributes:
        model: the model that was given, with the weights of its best epoch; after `train_quantized` they are float
            numbers on the trained grids.
        course: losses and scores of the epochs.
    """

    model: Model
    course: Course
    _savers: dict[str, Saver] = field(repr=False)

    def save(self, path: Path) -> None:
        """Write the model in the form of the file's suffix.

        `.keras` and `.h5` (Keras) and `.pt2` (PyTorch) hold the trained float weights, for `edgekit convert`; `.xml`
        (PyTorch after `train_quantized`) is OpenVINO IR with the trained quantizers in it. `.pt2` and `.xml` take one
        sample at a time.

        Raises:
            UsageError: if this model cannot be written so.
            DataError: if its framework cannot export it.
            ConverterMissingError: if OpenVINO is not installed.
        """
        if path.suffix not in self._savers:
            raise UsageError(f"'{path.name}' is not one of {', '.join(self._savers)}, as this model is saved")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._savers[path.suffix](path)


def train_quantized(  # noqa: PLR0913  # a model, its data, and how
    model: Model,
    train_data: Batches,
    loss: Loss,
    options: TrainOptions | None = None,
    *,
    precision: str = "int8",
    evaluate: Evaluate | None = None,
    on_event: OnEvent = ignore,
) -> Trained:
    """Train a model with the rounding of its later precision in it, so that it loses less by that.

    PyTorch nets get NNCF's fake-quantizers, whose ranges are trained too; Keras models are rounded as they stand. In
    both, weights have one step a channel and activations 256 levels a tensor.

    Args:
        model: a `torch.nn.Module`, `keras.Model` or `tf_keras.Model`; trained in place.
        train_data: batches of (inputs, target), to be gone through once an epoch: a torch `DataLoader`, a
            `tf.data.Dataset`, a list of NumPy arrays. Inputs are one tensor [N, ...], a tuple of them, or a dict by
            name.
        loss: as the framework calls it: `loss(outputs, target)` in PyTorch, `loss(target, outputs)` in Keras.
        options: how to train.
        precision: what it is trained for: `int8`, or with weights alone `int8-weights` or `int4-weights`.
        evaluate: gets `predict`, which takes a batch of inputs (as train_data has them) to NumPy outputs of the net as
            it will be converted, and returns a score, higher is better. The epoch with the best one is kept.
        on_event: progress.

    Raises:
        UsageError: if an option is wrong or the model of no known framework.
        DataError: if the data is no batches, a loss is not finite, or the model cannot be quantized.
        ConverterMissingError: if NNCF is not installed.
        EnvironmentMissingError: if the checkpoint cannot be written.
    """
    check_precision(precision)
    plan = Plan(
        train_data=train_data,
        options=options or TrainOptions(),
        evaluate=evaluate,
        on_event=on_event,
        of={"precision": precision},
    )
    return train(model, loss, plan, precision)


def finetune(  # noqa: PLR0913  # a model, its data, and how
    model: Model,
    train_data: Batches,
    loss: Loss,
    options: TrainOptions | None = None,
    *,
    evaluate: Evaluate | None = None,
    on_event: OnEvent = ignore,
) -> Trained:
    """Train a model as it is: what `train_quantized` does, without the rounding.

    Arguments and errors are those of `train_quantized`.
    """
    plan = Plan(
        train_data=train_data,
        options=options or TrainOptions(),
        evaluate=evaluate,
        on_event=on_event,
        of={"precision": None},
    )
    return train(model, loss, plan)


def train(model: Model, loss: Loss, plan: Plan, precision: str | None = None) -> Trained:
    """Train a model of any framework, for a precision or in float; arguments and errors as in `train_quantized`."""
    try:
        loader.check_again(plan.train_data)
        return _TRAIN[framework_of(model)](model, loss, plan, precision)
    except (TrainingError, CheckpointError) as exc:
        raise _of_this_side(exc) from exc


def _of_this_side(exc: Exception) -> EdgeKitError:
    """Return the loop's error as the host's callers know it."""
    error = (EnvironmentMissingError if isinstance(exc, CheckpointError) else DataError)(str(exc))
    for note in getattr(exc, "__notes__", []):
        error.add_note(note)
    return error


def _samples(plan: Plan, precision: str | None) -> list[Tree]:
    """Return the inputs that ranges are made from; a float net needs none, and one batch says what it takes."""
    if precision is None:
        return loader.first_samples(plan.train_data, 1)
    samples = loader.first_samples(plan.train_data, _CALIBRATION_SAMPLES)
    count = sum(len(loader.leaves(one)[0]) for one in samples)
    plan.on_event(Event(stage="quantize", detail=f"{precision}, ranges of {count} samples"))
    return samples


def framework_of(model: Model) -> str:
    """Return `keras` or `torch`; a Keras model that computes with PyTorch is Keras.

    Raises:
        UsageError: if the model is of neither.
    """
    classes = {(cls.__module__.partition(".")[0], cls.__name__) for cls in type(model).__mro__}
    if classes & {("keras", "Model"), ("tf_keras", "Model")}:
        return "keras"
    if ("torch", "Module") in classes:
        return "torch"
    kind = type(model)
    raise UsageError(f"a '{kind.__module__}.{kind.__name__}' is no torch.nn.Module, keras.Model or tf_keras.Model")


def _train_torch(model: Model, loss: Loss, plan: Plan, precision: str | None) -> Trained:
    from edgekit.training import _torch_quantized as quantized
    from edgekit_converters.training import torch_net

    torch_net.seed_all(plan.options.seed)
    samples = [torch_net.tensors(one, torch_net.device_of(model)) for one in _samples(plan, precision)]
    savers: dict[str, Saver] = {".pt2": lambda path: quantized.save_exported(model, samples[0], path)}
    net = model
    if precision is not None:
        net = quantized.quantized(model, samples, precision)
        savers[".xml"] = lambda path: quantized.save_openvino(net, samples[0], path)
    course = loop.run(torch_net.TorchTrainee(net, loss, plan.options.clip_norm), plan)
    if net is not model:
        quantized.take_weights(model, net, samples[0])
    return Trained(model=model.eval(), course=course, _savers=savers)


def _train_keras(model: Model, loss: Loss, plan: Plan, precision: str | None) -> Trained:
    from edgekit.training import _keras

    trainee = _keras.KerasTrainee(model, loss, plan.options.clip_norm, precision)
    _keras.seed_all(model, plan.options.seed)
    trainee.calibrate(_samples(plan, precision))
    course = loop.run(trainee, plan)
    trainee.settle()
    savers: dict[str, Saver] = dict.fromkeys((".keras", ".h5"), partial(_keras.save, model))
    return Trained(model=model, course=course, _savers=savers)


_TRAIN: dict[str, Callable[[Model, Loss, Plan, str | None], Trained]] = {"keras": _train_keras, "torch": _train_torch}
