"""Streams of samples: seeded, arrays with labels, folders of images."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekit_agent.errors import InputDataError
from edgekit_agent.preprocess import Preprocess
from edgekit_agent.runtimes.base import TensorSpec
from edgekit_agent.sources import open_source
from edgekit_agent.sources.base import Sample, Source
from edgekit_agent.sources.classes import read_classes
from edgekit_agent.sources.settings import SourceConfig
from edgekit_agent.sources.wanted import Wanted

X = (TensorSpec(name="image", shape=(1, 4), dtype="float32"),)
PHOTO = (TensorSpec(name="image", shape=(1, 6, 8, 3), dtype="float32"),)


def folder(path: Path, **more: object) -> SourceConfig:
    values: dict[str, object] = {"loop": False, **more}
    return SourceConfig(kind="folder", path=str(path), **values)  # type: ignore[arg-type]  # as a test says


def opened(
    config: SourceConfig, inputs: Sequence[TensorSpec], how: Mapping[str, Any], labels: str | None = None
) -> Source:
    classes = read_classes(labels)
    return open_source(config, Wanted(inputs=inputs, preprocess=Preprocess.from_mapping(how), classes=classes))


def samples(source: Source) -> list[Sample]:
    found = list(source.samples())
    assert all(isinstance(one, Sample) for one in found)
    return found  # type: ignore[return-value]  # as was just looked at


def values(source: Source) -> list[list[float]]:
    return [source.prepare(sample).arrays[0].ravel().tolist() for sample in samples(source)]


def test_an_archive_gives_its_samples_with_their_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(12.0).reshape(3, 4), y=np.array([2, 0, 1]))
    source = opened(folder(tmp_path), X, {})
    assert [sample.label for sample in samples(source)] == [2, 0, 1]
    assert values(source)[1] == [4, 5, 6, 7]


def test_npy_files_are_one_sample_or_several(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(4))
    np.save(tmp_path / "b.npy", np.ones((2, 4)))
    assert values(opened(folder(tmp_path), X, {})) == [[0] * 4, [1] * 4, [1] * 4]


def test_one_file_is_a_source_too(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((5, 4)))
    assert len(values(opened(folder(tmp_path / "a.npy"), X, {}))) == 5


def test_a_limit_ends_it_and_a_loop_begins_again(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(12.0).reshape(3, 4))
    found = values(opened(folder(tmp_path, loop=True, limit=7), X, {}))
    assert [row[0] for row in found] == [0, 4, 8, 0, 4, 8, 0]


def test_a_synthetic_source_repeats_with_its_seed() -> None:
    one, same = (opened(SourceConfig(seed=3, limit=20), X, {}) for _ in range(2))
    assert values(one) == values(same)
    assert len(values(one)) == 20


def _photos(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (number, number, number)).save(root / name)


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (("cat/a.png", "dog/b.png", "cat/c.png"), [0, 0, 1]),
        (("7/a.png", "10/b.png"), [10, 7]),
        (("a.png", "b.png"), [None, None]),
    ],
    ids=["names", "numbers", "flat"],
)
def test_a_folder_s_name_is_the_class(tmp_path: Path, names: tuple[str, ...], labels: list[int | None]) -> None:
    _photos(tmp_path, *names)
    source = opened(folder(tmp_path), PHOTO, {})
    assert [sample.label for sample in samples(source)] == labels


def test_a_file_of_class_names_gives_the_model_s_own_numbers(tmp_path: Path) -> None:
    names = tmp_path / "labels.txt"
    names.write_text("person\ndog\ncat\n")
    photos = tmp_path / "photos"
    _photos(photos, "cat/a.png", "dog/b.png")
    source = opened(folder(photos), PHOTO, {}, str(names))
    assert [sample.label for sample in samples(source)] == [2, 1]
    _photos(photos, "horse/c.png")
    with pytest.raises(InputDataError, match="folder 'horse' is none of the classes"):
        opened(folder(photos), PHOTO, {}, str(names))


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"x" * (1 << 21)], ids=["missing", "not text", "too long"])
def test_a_file_of_class_names_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "labels.txt").write_bytes(content)
    _photos(tmp_path / "photos", "cat/a.png")
    with pytest.raises(InputDataError, match=r"labels\.txt"):
        opened(folder(tmp_path / "photos"), PHOTO, {}, str(tmp_path / "labels.txt"))


def test_images_are_prepared_for_the_model(tmp_path: Path) -> None:
    _photos(tmp_path, "a.png", "b.png")
    source = opened(folder(tmp_path), PHOTO, {"scale": 0.5})
    assert [row[0] for row in values(source)] == [0, 0.5]


def test_a_broken_image_is_an_error_of_its_own_inference(tmp_path: Path) -> None:
    _photos(tmp_path, "a.png", "c.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    source = opened(folder(tmp_path), PHOTO, {})
    good, bad, after = samples(source)
    assert source.prepare(good).arrays[0].shape == (1, 6, 8, 3)
    with pytest.raises(InputDataError, match=r"b\.png"):
        source.prepare(bad)
    assert source.prepare(after).arrays[0].shape == (1, 6, 8, 3)


def _mixed(path: Path) -> None:
    _photos(path, "a.png")
    np.save(path / "a.npy", np.zeros(4))


def _npz(**arrays: object) -> Callable[[Path], None]:
    return lambda path: np.savez(path / "a.npz", **arrays)  # type: ignore[arg-type]  # arrays by name


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda _path: None, "holds no data"),
        (_mixed, "holds both images and arrays"),
        (_npz(x=np.zeros((2, 5))), "takes 1x4 and 1x5"),
        (_npz(z=np.zeros((2, 4))), "'image' is missing"),
        (_npz(x=np.zeros((2, 4)), y=np.zeros(3)), "not one class number a sample"),
        (_npz(x=np.zeros((0, 4))), "at least one"),
        (lambda path: (path / "a.npy").write_bytes(b"x"), r"a\.npy' cannot be read"),
        (lambda path: np.save(path / "a.npy", np.array([None] * 4, dtype=object)), r"a\.npy' cannot be read"),
    ],
    ids=["empty", "mixed", "shape", "name", "labels", "none", "broken", "pickled"],
)
def test_a_source_that_does_not_fit_is_refused_when_it_is_opened(
    tmp_path: Path, make: Callable[[Path], None], sentence: str
) -> None:
    make(tmp_path)
    with pytest.raises(InputDataError, match=sentence):
        opened(folder(tmp_path), X, {})


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="gone' does not exist"):
        opened(folder(tmp_path / "gone"), X, {})


def test_images_for_a_model_that_takes_none_are_refused(tmp_path: Path) -> None:
    _photos(tmp_path, "a.png")
    with pytest.raises(InputDataError, match="does not take one image"):
        opened(folder(tmp_path), X, {})


def test_a_sample_without_a_label_says_so() -> None:
    assert Sample([1]).label is None
