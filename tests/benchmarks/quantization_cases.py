"""What the quantization benchmark quantizes: models, what they are calibrated on, and what they are judged on.

No sample is in both.
"""

import csv
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.benchmarks.real_models import DATA, NETS, TOKENS, Net
from tests.converters import minilm_net
from tests.converters.real_data import centred, cifar10, cifar10_normalized, keyword_features, pictures

Arrays = Mapping[str, Any]
CALIBRATION = 200
"""Samples at most; fewer where there are few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Arrays [N, ...] by input (`x`: the only one); `labels` None: the float model's own answers are the labels."""

    calibration: Arrays
    inputs: Arrays
    labels: Any | None
    note: str
    """What they are, as the page says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model of `real_models.NETS`; `kind` is what it comes as, `scored` turns outputs into what the metric takes."""

    title: str
    net: Net
    kind: str
    samples: Callable[[int | None], Samples]
    metric: str = "top1"
    scored: Callable[[Any, Arrays], Any] = field(default=lambda output, _: output)
    weights_only: bool = False
    """Whether the precisions that store weights alone are made too."""
    transformer: bool = False

    @property
    def missing(self) -> list[str]:
        """Packages it needs that are not here."""
        return [one for one in self.net.packages if importlib.util.find_spec(one) is None]


def _kws(limit: int | None) -> Samples:
    features, labels = keyword_features(DATA)
    first, rest = features[:CALIBRATION], slice(CALIBRATION, CALIBRATION + limit if limit else None)
    note = "calibrated on the first 200 of 1,000 labelled sounds, judged on the others"
    return Samples(calibration={"x": first}, inputs={"x": features[rest]}, labels=labels[rest], note=note)


def cifar(limit: int | None) -> tuple[Any, Any, Any]:
    """Return pixels to calibrate on, and pixels and labels to judge by: of the training and of the test set."""
    archive = DATA / "cifar10-resnet"
    shown, _ = cifar10(archive / "cifar10_jpeg_train5k.zip", CALIBRATION)
    return shown, *cifar10(archive / "cifar10_jpeg_test.zip", limit)


_CIFAR = "calibrated on 200 images of CIFAR-10's training set, judged on its test set, both as JPEG"


def _resnet8(limit: int | None) -> Samples:
    shown, pixels, labels = cifar(limit)
    return Samples(calibration={"x": shown}, inputs={"x": pixels}, labels=labels, note=_CIFAR)


def _resnet20(limit: int | None) -> Samples:
    shown, pixels, labels = cifar(limit)
    first, rest = cifar10_normalized(shown), cifar10_normalized(pixels)
    return Samples(calibration={"x": first}, inputs={"x": rest}, labels=labels, note=_CIFAR)


def _photos(limit: int | None) -> tuple[Any, Any, Any]:
    """Return every fifth of the 250 photos to calibrate on, and the others with their classes to judge by."""
    pixels, names = pictures(DATA / "imagenet250" / "images.zip")
    labels = np.array([int(name.partition("_")[0]) for name in names])
    judged = np.arange(len(pixels)) % 5 != 0
    return pixels[~judged], pixels[judged][:limit], labels[judged][:limit]


def _lite0(limit: int | None) -> Samples:
    shown, pixels, labels = _photos(limit)
    note = "250 photos are all there is: calibrated on every fifth, judged on the other 200"
    return Samples(calibration={"x": centred(shown)}, inputs={"x": centred(pixels)}, labels=labels, note=note)


def _vww(limit: int | None) -> Samples:
    shown, pixels, _ = _photos(limit)
    first, rest = (_small(one).astype(np.float32) / 255 for one in (shown, pixels))
    note = "no labels: judged by how often it answers as its float model does, on 200 photos; calibrated on 50 others"
    return Samples(calibration={"x": first}, inputs={"x": rest}, labels=None, note=note)


def _small(pixels: Any) -> Any:
    from PIL import Image

    return np.stack([np.asarray(Image.fromarray(one).resize((96, 96), Image.Resampling.BILINEAR)) for one in pixels])


def _wakeword(limit: int | None) -> Samples:
    known = np.load(DATA / "wakeword-1d" / "calibration_samples.npz", allow_pickle=False)
    specs, labels = known["specs"].astype(np.float32), known["labels"].astype(np.int64)
    judged = np.arange(len(specs)) % 3 != 0
    note = "45 labelled sounds are all there is: calibrated on every third, judged on the other 30"
    return Samples(
        calibration={"x": specs[~judged]}, inputs={"x": specs[judged][:limit]}, labels=labels[judged][:limit], note=note
    )


def _minilm(limit: int | None) -> Samples:
    """Sentences of the development set to calibrate on; rows 2i and 2i + 1 of the test set are pair i."""
    pairs, scores = minilm_net.scored_pairs(DATA)
    count = min((limit or 2 * len(pairs)) // 2, len(pairs))  # a pair is two samples
    chosen = np.linspace(0, len(pairs) - 1, count).astype(int)
    tokens = minilm_net.WordPiece()
    with (DATA / "stsb-minilm" / "stsb-en-dev.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    shown = [row[0] for row in rows[:: len(rows) // CALIBRATION][:CALIBRATION]]
    return Samples(
        calibration=_padded([tokens(one) for one in shown]),
        inputs=_padded([tokens(one) for at in chosen for one in pairs[at]]),
        labels=scores[chosen],
        note=f"calibrated on {CALIBRATION} sentences of STS-B's development set, judged on {count:,} "
        f"of the 1,379 pairs of its test set, each padded to {TOKENS} tokens",
    )


def _padded(rows: list[dict[str, Any]]) -> Arrays:
    return {
        name: np.stack([np.pad(row[name][0, :TOKENS], (0, max(0, TOKENS - row[name].size))) for row in rows])
        for name in minilm_net.INPUTS
    }


def _embedded(hidden: Any, inputs: Arrays) -> Any:
    return minilm_net.embedding(hidden, inputs["attention_mask"])


CASES: Mapping[str, Case] = {
    "kws": Case(title="KWS (DS-CNN, SavedModel)", net=NETS["kws"], kind="saved_model", samples=_kws),
    "resnet8": Case(title="ResNet8 (Keras)", net=NETS["resnet8"], kind="keras", samples=_resnet8),
    "resnet20": Case(title="ResNet20 (PyTorch)", net=NETS["resnet20"], kind="torch", samples=_resnet20),
    "lite0": Case(title="EfficientNet-Lite0 (PyTorch)", net=NETS["lite0"], kind="torch", samples=_lite0),
    "vww": Case(title="VWW (MobileNetV1 0.25, Keras)", net=NETS["vww"], kind="keras", samples=_vww),
    "wakeword": Case(title="Wakeword (1-D DS-CNN, Keras)", net=NETS["wakeword"], kind="keras", samples=_wakeword),
    "minilm": Case(
        title="MiniLM (BERT encoder, PyTorch)",
        net=NETS["minilm-1x48"],
        kind="torch",
        samples=_minilm,
        metric="spearman",
        scored=_embedded,
        weights_only=True,
        transformer=True,
    ),
}
