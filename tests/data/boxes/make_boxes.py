"""Write `boxes.npz` beside this file: detections, labels and pycocotools' mAP of them (needs pycocotools).

    python tests/data/boxes/make_boxes.py

The file is committed, so that the tests need no pycocotools; this is how it came to be.
"""

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np

SETS, SEED = 12, 3


def main() -> None:
    """Write all sets with their scores."""
    rng = np.random.default_rng(SEED)
    kept: dict[str, Any] = {}
    for number in range(SETS):
        made = detections(rng, coarse=number % 3 == 0)
        kept |= {f"{number}.{name}": array for name, array in made.items()}
        kept[f"{number}.map"] = np.float64(score(made))
    np.savez_compressed(Path(__file__).with_name("boxes.npz"), **kept)


def detections(rng: np.random.Generator, *, coarse: bool) -> dict[str, Any]:
    """Return labelled boxes and detections near them; coarse scores have many equal ones."""
    images, boxes, found, classes = (int(rng.integers(*ends)) for ends in ((2, 12), (1, 7), (2, 130), (1, 5)))
    wanted = rng.random((images, boxes, 4)) * 60
    wanted[..., 2:] = wanted[..., :2] + 1 + rng.random((images, boxes, 2)) * 40
    numbers = rng.integers(0, classes, (images, boxes))
    near = rng.integers(0, boxes, (images, found))
    got = np.take_along_axis(wanted, near[..., None], 1) + rng.normal(size=(images, found, 4)) * rng.choice([1, 5])
    got[..., 2:] = np.maximum(got[..., 2:], got[..., :2] + 0.1)
    own = np.take_along_axis(numbers, near, 1)
    scores = rng.random((images, found)).astype(np.float32)
    return {
        "y_boxes": wanted,
        "y_classes": numbers,
        "y_crowd": (rng.random((images, boxes)) < 0.15).astype(np.int64),
        "y_count": rng.integers(1, boxes + 1, images),
        "boxes": got,
        "classes": np.where(rng.random((images, found)) < 0.8, own, rng.integers(0, classes, (images, found))),
        "scores": np.round(scores, 1) if coarse else scores,
    }


def score(made: dict[str, Any]) -> float:
    """Return COCOeval's first figure: AP at IoU 0.50:0.95, all areas, 100 detections."""
    from pycocotools.coco import COCO  # type: ignore[import-untyped]  # only this script needs it
    from pycocotools.cocoeval import COCOeval  # type: ignore[import-untyped]

    images = range(len(made["y_boxes"]))
    labels = [
        {"image_id": image + 1, "iscrowd": int(crowd), "category_id": int(number), **_box(box)}
        for image in images
        for box, number, crowd, _ in zip(
            *(made[name][image] for name in ("y_boxes", "y_classes", "y_crowd")),
            range(made["y_count"][image]),
            strict=False,
        )
    ]
    labels = [{"id": number, **label} for number, label in enumerate(labels, 1)]
    results = [
        {"image_id": image + 1, "category_id": int(number), "score": float(value), "bbox": _box(box)["bbox"]}
        for image in images
        for box, number, value in zip(*(made[name][image] for name in ("boxes", "classes", "scores")), strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": image + 1} for image in images],
            "categories": [{"id": number} for number in range(8)],
            "annotations": labels,
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def _box(box: Any) -> dict[str, Any]:
    left, top, right, bottom = (float(value) for value in box)
    return {"bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top)}


if __name__ == "__main__":
    main()
