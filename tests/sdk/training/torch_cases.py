"""PyTorch nets that are trained: run as `python -m tests.sdk.training.torch_cases FOLDER`."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253  # a process of its own
from torch import nn  # noqa: TID253  # a process of its own

import edgekit
from edgekit.training._torch_quantized import weight_quantizers
from tests.framework_cases import Shuffled, accuracy, digits, error_of, main, spread

LOSS = nn.CrossEntropyLoss()
TRAIN_X, TRAIN_Y, TEST_X, TEST_Y = digits(channels_first=True)
SCORE = accuracy(TEST_X, TEST_Y)


def net(dropout: float = 0.0) -> Any:
    """Return an untrained net for digits: a bare `Sequential`, with batch norms and a depthwise convolution."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU(),
        nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False), nn.BatchNorm2d(12), nn.ReLU(),
        nn.Conv2d(12, 16, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(dropout), nn.Linear(64, 10),
    )  # fmt: skip


_TRAINED: dict[str, Any] = {}


def trained() -> Any:
    """Return the net trained in float; the same each time."""
    if not _TRAINED:
        one = net()
        options = edgekit.TrainOptions(epochs=15, learning_rate=5e-3, freeze_after=1.0)
        edgekit.finetune(one, Shuffled(TRAIN_X, TRAIN_Y), LOSS, options)
        _TRAINED.update(one.state_dict())
    one = net()
    one.load_state_dict(_TRAINED)
    return one.eval()


def hard() -> Any:
    """Return the trained net with channels 1,000 times apart: in float it computes the same."""
    one, factors = trained(), torch.from_numpy(spread(12))
    with torch.no_grad():
        one[4].weight.mul_(factors)
        one[4].bias.mul_(factors)
        one[6].weight.div_(factors[:, None, None])
    return one


def float_score(one: Any) -> float:
    def predict(inputs: Any) -> Any:
        with torch.no_grad():
            return one.eval()(torch.from_numpy(inputs)).numpy()

    return SCORE(predict)


def recovers(work: Path, precision: str) -> dict[str, Any]:
    one = hard()
    before = float_score(one)
    options = edgekit.TrainOptions(epochs=6, learning_rate=3e-3)
    told: list[str] = []
    data = Shuffled(TRAIN_X, TRAIN_Y)
    done = edgekit.train_quantized(
        one, data, LOSS, options, precision=precision, evaluate=SCORE, on_event=lambda event: told.append(event.stage)
    )
    done.save(work / "net.pt2")
    done.save(work / "net.xml")
    np.savez(work / "test.npz", x=TEST_X, y=TEST_Y)
    return {
        "float": before,
        "scores": done.course.scores,
        "trained_float": float_score(one),
        "same": done.model is one,
        "told": told,
        "left": [name for name, _ in one.named_modules() if "nncf" in name],
        "values": int(max(len(np.unique(channel)) for channel in one[6].weight.detach().numpy())),
    }


def goes_on(work: Path) -> dict[str, Any]:
    """Killed in the second epoch and started again, with shuffling and dropout."""
    results = []
    for kill_at in (0, 48):
        options = edgekit.TrainOptions(
            epochs=3, checkpoint=work / f"{kill_at}.npz", checkpoint_every_s=0 if kill_at else 60, learning_rate=1e-3
        )
        if kill_at:
            try:
                data = Shuffled(TRAIN_X, TRAIN_Y, kill_at=kill_at)
                edgekit.train_quantized(net(dropout=0.3), data, LOSS, options, evaluate=SCORE)
            except KeyboardInterrupt:
                torch.manual_seed(99)
        one = net(dropout=0.3)
        done = edgekit.train_quantized(one, Shuffled(TRAIN_X, TRAIN_Y), LOSS, options, evaluate=SCORE)
        results.append((done.course, {name: value.numpy() for name, value in one.state_dict().items()}))
    (first, weights), (second, others) = results
    return {"course": first == second, "weights": all(np.array_equal(weights[name], others[name]) for name in weights)}


def freezes(_work: Path) -> dict[str, Any]:
    found = {}
    for share in (0.0, 1.0):
        one = trained()
        before = one[1].running_mean.clone()
        options = edgekit.TrainOptions(epochs=1, freeze_after=share)
        edgekit.finetune(one, Shuffled(TRAIN_X, TRAIN_Y), LOSS, options)
        found[str(share)] = bool(torch.equal(before, one[1].running_mean))
    return found


class TwoInputs(nn.Module):  # type: ignore[misc]  # PyTorch is not there when types are checked
    def __init__(self) -> None:
        """Two layers, one for each input."""
        super().__init__()
        self.left, self.right = nn.Linear(32, 10), nn.Linear(32, 10)

    def forward(self, top: Any, bottom: Any) -> dict[str, Any]:
        return {"scores": self.left(top) + self.right(bottom), "seen": top}


class AnyInputs(TwoInputs):
    def forward(self, *halves: Any) -> dict[str, Any]:
        return super().forward(*halves)


def named_loss(outputs: dict[str, Any], labels: Any) -> Any:
    return LOSS(outputs["scores"], labels)


def right(scores: Any) -> float:
    return float((scores.argmax(-1) == TEST_Y).mean())


def several_inputs(work: Path) -> dict[str, Any]:
    """Inputs as a tuple and as a dict by name, of a `DataLoader`, and outputs in a dict."""
    from torch.utils.data import DataLoader, TensorDataset

    flat = torch.from_numpy(TRAIN_X.reshape(len(TRAIN_X), 64))
    parts = TensorDataset(flat[:, :32], flat[:, 32:], torch.from_numpy(TRAIN_Y))
    wholes = list(DataLoader(parts, batch_size=40))
    forms: dict[str, Any] = {
        "tuple": [((top, bottom), target) for top, bottom, target in wholes],
        "dict": [({"bottom": bottom, "top": top}, target) for top, bottom, target in wholes],
    }
    halves = TEST_X.reshape(-1, 64)[:, :32], TEST_X.reshape(-1, 64)[:, 32:]
    asked = {"tuple": halves, "dict": {"top": halves[0], "bottom": halves[1]}}
    options = edgekit.TrainOptions(epochs=3, learning_rate=1e-2)
    found: dict[str, Any] = {}
    for form, batches in forms.items():
        torch.manual_seed(0)
        inputs = asked[form]
        done = edgekit.train_quantized(
            TwoInputs(),
            batches,
            named_loss,
            options,
            evaluate=lambda predict: right(predict(inputs)["scores"]),  # noqa: B023  # called at once
        )
        done.save(work / f"{form}.xml")
        done.save(work / f"{form}.pt2")
        found[form] = max(done.course.scores)
    torch.manual_seed(0)
    done = edgekit.train_quantized(AnyInputs(), forms["tuple"], named_loss, options, precision="int8-weights")
    done.save(work / "any.xml")
    return found


def loaders(_work: Path) -> dict[str, Any]:
    """A `DataLoader` that shuffles gives the same net twice, and another with another seed."""
    from torch.utils.data import DataLoader, TensorDataset

    data = TensorDataset(torch.from_numpy(TRAIN_X), torch.from_numpy(TRAIN_Y))
    weights = []
    for seed in (0, 0, 1):
        one = net()
        options = edgekit.TrainOptions(epochs=2, seed=seed)
        edgekit.finetune(one, DataLoader(data, batch_size=100, shuffle=True), LOSS, options)
        weights.append(one[0].weight.detach().numpy())
    return {"same": bool(np.array_equal(*weights[:2])), "other": not np.array_equal(*weights[1:])}


def grids(_work: Path) -> dict[str, Any]:
    """The fake-quantizers have as many levels as asked for, and are trained."""
    from edgekit.training import _torch_quantized as quantized

    found = {}
    for precision in ("int8", "int8-weights", "int4-weights"):
        made = quantized.quantized(trained(), [torch.from_numpy(TRAIN_X[:40])], precision)
        all_of_them = quantized._quantizers(made)  # what is looked at
        weights = weight_quantizers(made)
        others = [one for one in all_of_them if one not in weights]
        found[precision] = {
            "levels": sorted({one.levels for one in weights}),
            "weights": len(weights),
            "activations": sum(one.is_enabled_quantization() for one in others),
        }
    return found


def refusals(work: Path) -> dict[str, Any]:
    data = Shuffled(TRAIN_X, TRAIN_Y)
    once = edgekit.TrainOptions(epochs=1)
    found = {
        "no model": error_of(lambda: edgekit.train_quantized(object(), data, LOSS)),
        "no weights": error_of(lambda: edgekit.finetune(nn.ReLU(), data, LOSS)),
        "nothing to quantize": error_of(lambda: edgekit.train_quantized(nn.BatchNorm2d(1), data, LOSS)),
        "nan": error_of(lambda: edgekit.train_quantized(net(), data, lambda out, _y: out.sum() * float("nan"), once)),
        "vector": error_of(lambda: edgekit.finetune(net(), data, lambda out, _y: out, once)),
        "suffix": error_of(lambda: edgekit.finetune(net(), data, LOSS, once).save(work / "net.onnx")),
        "float to openvino": error_of(lambda: edgekit.finetune(net(), data, LOSS, once).save(work / "net.xml")),
        "two inputs": error_of(lambda: edgekit.train_quantized(net(), [((TRAIN_X, TRAIN_X), TRAIN_Y)], LOSS, once)),
    }
    held = sys.modules.pop("nncf")
    sys.modules["nncf"] = None  # type: ignore[assignment]  # what `import` takes for "not there"
    found["no nncf"] = error_of(lambda: edgekit.train_quantized(net(), data, LOSS))
    sys.modules["nncf"] = held
    return found


def keras_on_torch(_work: Path) -> dict[str, Any]:
    """A Keras model that computes with PyTorch is a module too, and still Keras."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    model = keras.Sequential([keras.layers.Input((64,)), keras.layers.Dense(10)])
    return error_of(lambda: edgekit.train_quantized(model, Shuffled(TRAIN_X, TRAIN_Y), LOSS))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(
        {
            "int8": lambda work: recovers(work, "int8"),
            "int4-weights": lambda work: recovers(work, "int4-weights"),
            "goes on": goes_on,
            "freezes": freezes,
            "several inputs": several_inputs,
            "loaders": loaders,
            "grids": grids,
            "refusals": refusals,
            "keras on torch": keras_on_torch,
        }
    )
