"""COCO-style `annotations.json` in or beside a folder of images: boxes as the model's input shows them.

Format: https://cocodataset.org/#format-data ("Object Detection"): `images` with `id` and `file_name`,
`annotations` with `image_id`, `category_id`, `bbox` [x, y, width, height] in pixels of the file and
`iscrowd`, `categories` with `id` and `name`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit._data.dataset import LABEL_PREFIX, check_memory, padded
from edgekit.errors import DataError
from edgekit_agent.errors import InputDataError
from edgekit_agent.placing import Placement
from edgekit_agent.preprocess import Preprocess, opened
from edgekit_converters.model import Array

NAME = "annotations.json"
_MEMORY_PER_BYTE = 10  # Python's objects for a byte of JSON


@dataclass(frozen=True, slots=True)
class Annotations:
    """Boxes [x, y, width, height, class, crowd] by the file's name; classes count the categories, by their ids."""

    path: Path
    boxes: Mapping[str, Sequence[tuple[float, ...]]]
    classes: tuple[str, ...]

    def has(self, root: Path, file: Path) -> bool:
        """Return whether an image of the folder is in the file."""
        return self._key(root, file) in self.boxes

    def _key(self, root: Path, file: Path) -> str:
        relative = file.relative_to(root).as_posix()
        return relative if relative in self.boxes else file.name

    def labels(self, root: Path, files: Sequence[Path], how: Preprocess) -> dict[str, Array]:
        """Return the labels of images after preprocessing.

        `y_boxes` [N, M, 4] are left, top, right, bottom as shares of the input's width and height, `y_classes`
        and `y_crowd` [N, M], `y_count` [N] how many of M there are, `y_size` [N, 2] the input's height and width.
        """
        rows: list[NDArray[np.float64]] = []
        sizes: list[tuple[int, int]] = []
        for file in files:
            try:
                picture = opened(file)
                placement = how.placed(picture.height, picture.width)
            except InputDataError as exc:
                raise DataError(str(exc)) from exc
            rows.append(_moved(self.boxes[self._key(root, file)], placement))
            sizes.append(placement.size)
        filled, counts = padded(rows)
        named = {
            "boxes": filled[..., :4],
            "classes": filled[..., 4].astype(np.int64),
            "crowd": filled[..., 5].astype(np.int64),
            "count": counts,
            "size": np.asarray(sizes, dtype=np.int64),
        }
        return {f"{LABEL_PREFIX}{name}": array for name, array in named.items()}


def _moved(boxes: Sequence[tuple[float, ...]], placement: Placement) -> NDArray[np.float64]:
    """Return boxes [m, 6] in shares of the preprocessed picture; what is cropped away is gone."""
    found = np.asarray(boxes, dtype=np.float64).reshape(-1, 6)
    (tall, wide), (down, along), (top, left) = placement.size, placement.scale, placement.offset
    corners = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:4]], axis=1)
    moved = (corners * [along, down, along, down] - [left, top, left, top]) / [wide, tall, wide, tall]
    clipped = moved.clip(0, 1)
    kept = (clipped[:, 2:] > clipped[:, :2]).all(axis=1)
    return np.concatenate([clipped, found[:, 4:]], axis=1)[kept]


def find(folder: Path) -> Path | None:
    """Return the `annotations.json` in a folder, or else beside it."""
    return next((path for path in (folder / NAME, folder.parent / NAME) if path.is_file()), None)


def read(path: Path) -> Annotations:
    """Read a COCO-style file.

    Raises:
        DataError: if it is too large, no JSON, or not of that form.
    """
    try:
        check_memory(str(path), _MEMORY_PER_BYTE * path.stat().st_size)
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as exc:
        raise DataError(f"'{path}' cannot be read as JSON: {exc}") from exc
    try:
        return _understood(path, document)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise DataError(f"'{path}' is not of the COCO form: {type(exc).__name__} {exc}") from exc


def _understood(path: Path, document: Any) -> Annotations:  # noqa: ANN401  # JSON of somebody's
    categories = sorted(document["categories"], key=lambda one: one["id"])
    number = {one["id"]: place for place, one in enumerate(categories)}
    names = {one["id"]: str(one["file_name"]) for one in document["images"]}
    boxes: dict[str, list[tuple[float, ...]]] = {name: [] for name in names.values()}
    for one in document["annotations"]:
        x, y, width, height = (float(value) for value in one["bbox"])
        if not np.isfinite([x, y, width, height]).all():
            raise ValueError("a box is not finite")
        kept = (x, y, width, height, number[one["category_id"]], int(one.get("iscrowd", 0)))
        boxes[names[one["image_id"]]].append(kept)
    return Annotations(path, boxes, tuple(str(one["name"]) for one in categories))
