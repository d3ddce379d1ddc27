"""Samples to train on: held out, in order, augmented; and the teacher that is asked about them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.compress.learning.samples import Batches, Samples, check_augment, held_out
from edgekit_converters.compress.learning.teacher import Teacher, paired
from edgekit_converters.errors import UnsupportedError
from tests.converters.compress.learning_nets import classifier, model, regressor

IMAGES = np.random.default_rng(0).normal(size=(10, 3, 16, 8)).astype(np.float32)


def samples(images: Any = IMAGES) -> Samples:
    return Samples(inputs=(images,), labels={"y": np.arange(len(images))})


def epoch(batches: Batches, seed: int = 0) -> list[Any]:
    np.random.seed(seed)  # noqa: NPY002  # as the loop does
    return list(batches)


def test_a_part_is_held_out_by_the_seed_and_nothing_is_lost() -> None:
    rest, judged = held_out(samples(), 0.3, 1)
    assert len(judged) == 3
    assert sorted([*rest.labels["y"], *judged.labels["y"]]) == list(range(10))
    again, _ = held_out(samples(), 0.3, 1)
    assert np.array_equal(rest.labels["y"], again.labels["y"])
    assert not np.array_equal(held_out(samples(), 0.3, 2)[1].labels["y"], judged.labels["y"])
    assert len(held_out(samples(), 0.0, 0)[1]) == 0
    assert len(held_out(samples().at([0]), 0.9, 0)[0]) == 1


def test_every_sample_comes_once_an_epoch_in_an_order_of_the_seed() -> None:
    batches = Batches(samples=samples(), size=4)
    seen = [labels["y"] for _, (labels, _) in epoch(batches)]
    assert [len(one) for one in seen] == [4, 4, 2]
    assert len(batches) == 3
    assert sorted(np.concatenate(seen)) == list(range(10))
    assert all(np.array_equal(a, b["y"]) for a, (_, (b, _)) in zip(seen, epoch(batches), strict=True))
    assert not np.array_equal(seen[0], epoch(batches, 1)[0][1][0]["y"])


@pytest.mark.parametrize("how", ["noise", "mixup", "moved", "mirrored"])
def test_augmented_samples_keep_their_form_and_change(how: str) -> None:
    data = samples() if how != "mixup" else Samples(inputs=(IMAGES,), labels={"y": np.eye(10, dtype=np.float32)})
    ((inputs, (labels, _)),) = epoch(Batches(samples=data, size=10, augment=how))
    (images,) = inputs
    assert (images.shape, images.dtype) == (IMAGES.shape, np.float32)
    order = labels["y"] if how != "mixup" else labels["y"].argmax(1)
    assert not np.array_equal(images, IMAGES[order])
    if how == "mixup":
        assert np.allclose(labels["y"].sum(1), 1)
        assert np.allclose(images, np.tensordot(labels["y"], IMAGES, 1), atol=1e-5)


@pytest.mark.parametrize("last", [False, True])
def test_images_are_mirrored_and_moved_along_height_and_width(last: bool) -> None:
    ramp = np.broadcast_to(np.arange(16.0, dtype=np.float32), (64, 3, 16, 16))  # the same in every row and channel
    images = np.ascontiguousarray(ramp.transpose(0, 2, 3, 1) if last else ramp)
    ((inputs, _),) = epoch(Batches(samples=samples(images), size=64, augment="mirrored"))
    (made,) = inputs
    rows = (made.transpose(0, 3, 1, 2) if last else made)[:, 0]
    assert (rows == rows[:, :1]).all()
    firsts = {float(one[0, 8]) for one in rows}
    assert firsts <= {5.0, 6.0, 7.0, 8.0, 9.0, 10.0}
    assert len(firsts) > 3
    assert {bool(one[0, 15] > one[0, 0]) for one in rows} == {True, False}


def test_what_cannot_be_augmented_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="augment=noise is for inputs of floating point, of which it has none"):
        check_augment("noise", [np.zeros((2, 3), np.int64)])
    with pytest.raises(UnsupportedError, match="augment=moved is for inputs of four dimensions, of which it has none"):
        check_augment("moved", [np.zeros((2, 3), np.float32)])


@pytest.mark.parametrize("batch", ["N", "1", "4"])
def test_a_teacher_answers_sample_by_sample_whatever_its_batch(batch: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(10, 1, 8, 8)).astype(np.float32)
    said = Teacher(classifier(batch=batch), ["l", "inner"], tmp_path / "t.onnx")((x,))
    wanted = Teacher(classifier(), ["l", "inner"], tmp_path / "w.onnx")((x,))
    assert {name: one.shape for name, one in said.items()} == {"l": (10, 10), "inner": (10, 8, 8, 8)}
    assert all(np.allclose(said[name], wanted[name], atol=1e-5) for name in wanted)


def test_a_teacher_that_stops_on_the_data_is_refused(tmp_path: Path) -> None:
    teacher = Teacher(
        model("y = Gather(w, x)", "int64[N] x", "float[N,2] y", {"w": (3, 2)}), ["y"], tmp_path / "t.onnx"
    )
    with pytest.raises(UnsupportedError, match="the teacher stops on the data: "):
        teacher((np.array([7]),))


def test_teacher_and_student_take_and_give_the_same() -> None:
    assert paired(classifier(), classifier(softmax=False)) == {"y": "y"}
    other = model("l = Relu(x)", "float[M,3] x", "float[M,3] l", {})
    same = model("y = Relu(x)", "float[M,3] x", "float[M,3] y", {})
    assert paired(same, other) == {"y": "l"}
    with pytest.raises(UnsupportedError, match=r"the teacher takes x float32 .*, the student x float32"):
        paired(classifier(), regressor())
    with pytest.raises(UnsupportedError, match=r"the teacher's output 'l' is of \[3\], the student's of \[2\]"):
        paired(regressor(), other)
