"""Real models: faces where they are, by two ways of coding boxes, and the right classes of photos."""

from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from edgekit_agent import runtimes
from edgekit_agent.answering import Answering, Found
from edgekit_agent.placing import picture_size
from edgekit_agent.postprocess import Postprocess
from edgekit_agent.preprocess import Preprocess
from edgekit_agent.sources.pictures import Pictures
from edgekit_agent.sources.wanted import Wanted

pytestmark = [pytest.mark.shared_data, pytest.mark.slow]

FACES = {"kind": "boxes", "background": 0, "threshold": 0.7, "iou": 0.3}
CORNERS = {**FACES, "boxes": "boxes", "scores": "scores"}
PRIORS = {
    **FACES, "boxes": 0, "scores": 1, "form": "ssd", "clip": True, "strides": [8, 16, 32, 64],
    "sizes": [[10, 16, 24], [32, 48], [64, 96], [128, 192, 256]],
}  # fmt: skip
"""As the network was trained: its author's code has these figures."""


class Finder:
    """A detector, from picture to boxes."""

    def __init__(self, runtime: str, model: Path, postprocess: dict[str, Any], **preprocess: Any) -> None:
        """Load it."""
        self._session = runtimes.get(runtime).load(model)
        how = Preprocess.from_mapping({"mean": 127, "std": 128, **preprocess})
        self._pictures = Pictures(Wanted(inputs=self._session.inputs, preprocess=how), "it")
        size = picture_size(self._session.inputs[0].shape, how.layout)
        self._answering = Answering(Postprocess.from_mapping(postprocess), self._session.outputs, picture=size)

    def __call__(self, picture: Image.Image) -> list[Found]:
        prepared = self._pictures.prepare(picture, "a picture")
        return list(self._answering.answer(self._session.invoke(prepared.arrays), prepared.placement).boxes)


@pytest.fixture(scope="module")
def photos(shared_data: Path) -> list[Image.Image]:
    with np.load(shared_data / "face-rfb" / "golden.npz") as golden:
        return [Image.fromarray(one) for one in golden["x_uint8"]]


@pytest.fixture(scope="module")
def onnx(shared_data: Path) -> Finder:
    return Finder("onnxruntime", shared_data / "face-rfb" / "version-RFB-320.onnx", CORNERS, layout="nchw")


def test_the_faces_of_a_photo_are_found_once_each(onnx: Finder, photos: list[Image.Image]) -> None:
    """Two men shake hands: looked at by eye, the faces are in these rectangles."""
    faces = sorted(tuple(round(side) for side in one.corners) for one in onnx(photos[3]))
    assert np.abs(np.array(faces) - [(65, 12, 110, 72), (213, 59, 258, 119)]).max() <= 2


def test_boxes_decoded_here_are_those_decoded_in_the_graph(
    onnx: Finder, photos: list[Image.Image], shared_data: Path
) -> None:
    """The author's TFLite file is the same network without its decoder."""
    model = shared_data / "face-rfb" / "version-RFB-320_without_postprocessing.tflite"
    raw = Finder("ai-edge-litert", model, PRIORS)
    for photo in photos:
        wanted, found = onnx(photo), raw(photo)
        assert len(found) == len(wanted) > 0
        # float32 kernels of two runtimes, over 40 layers
        assert np.allclose([one.corners for one in found], [one.corners for one in wanted], atol=0.05)
        assert np.allclose([one.score for one in found], [one.score for one in wanted], atol=1e-3)


def test_faces_in_a_letterbox_are_told_in_the_source_s_pixels(shared_data: Path, photos: list[Image.Image]) -> None:
    """The photo stands in the middle of a wide, dark one: the faces are where they were put."""
    wide = Image.new("RGB", (1280, 480))
    wide.paste(photos[3].resize((640, 480)), (320, 0))
    model = shared_data / "face-rfb" / "version-RFB-320.onnx"
    finder = Finder("onnxruntime", model, CORNERS, layout="nchw", letterbox=[240, 320], fill=127)
    faces = sorted(one.corners for one in finder(wide))
    wanted = [(320 + 2 * 65, 2 * 12, 320 + 2 * 110, 2 * 72), (320 + 2 * 213, 2 * 59, 320 + 2 * 258, 2 * 119)]
    # a detector does not draw the same rectangle around a face of half the size: 15 % of a face
    assert np.abs(np.array(faces) - wanted).max() <= 18


def test_photos_have_their_classes(shared_data: Path, tmp_path: Path) -> None:
    """MobileNet v2 as published: 90 % of these photos; a class's number is one more than the file's (background)."""
    folder = shared_data / "imagenet250"
    session = runtimes.get("ai-edge-litert").load(folder / "mobilenet_v2_1.0_224_quant.tflite")
    names = [line.split(maxsplit=1)[-1] for line in (folder / "imagenet_labels.txt").read_text().splitlines()]
    answering = Answering(Postprocess.from_mapping({"kind": "classes"}), session.outputs, labels=names)
    # real = (pixel - 128) / 128 is what the input stores as the pixel
    how = Preprocess.from_mapping({"mean": 128, "std": 128})
    pictures = Pictures(Wanted(inputs=session.inputs, preprocess=how), "it")
    with ZipFile(folder / "images.zip") as archive:
        chosen = sorted(archive.namelist())[:50]
        archive.extractall(tmp_path, chosen)
    first = fifth = 0
    for name in chosen:
        prepared = pictures.prepare(tmp_path / name, name)
        numbers = [one.number - 1 for one in answering.answer(session.invoke(prepared.arrays)).classes]
        wanted = int(Path(name).name.split("_")[0])
        first += numbers[0] == wanted
        fifth += wanted in numbers
        assert len(numbers) == 5
    assert first >= 42
    assert fifth >= 47
