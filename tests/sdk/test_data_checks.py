"""Likely mistakes in calibration and evaluation data: each is named, and good data is not suspected."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgekit._data import DataSet
from edgekit._data_checks import check_calibration, check_evaluation
from edgekit.errors import DataError
from edgekit_agent.preprocess import Preprocess

UNIT = Preprocess(scale=1 / 255)
SIGNED = Preprocess(mean=127.5, std=127.5)


def photos(seed: int, count: int = 40, size: int = 32) -> Any:
    """Return smooth coloured pictures [N, H, W, 3] with values of 0..255, more red than blue."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((count, 4, 4, 3)) * np.array([1.2, 0.9, 0.5])
    smooth = coarse.repeat(size // 4, axis=1).repeat(size // 4, axis=2)
    for axis in (1, 2):
        smooth = (smooth + np.roll(smooth, 1, axis) + np.roll(smooth, 2, axis) + np.roll(smooth, 3, axis)) / 4
    low, high = smooth.min(), smooth.max()
    return ((smooth - low) / (high - low) * 255).astype(np.float32)


def data(array: Any, name: str = "x") -> DataSet:
    return DataSet(spec="d.npz", arrays={name: array})


def test_good_data_is_not_suspected() -> None:
    for how, scale, low in ((None, 1, 0), (UNIT, 255, 0), (SIGNED, 127.5, 1)):
        calibration, evaluation = (data(photos(seed, 100) / scale - low) for seed in (1, 2))
        assert check_calibration(calibration, evaluation, how) == ()
    nchw = Preprocess(mean=(124, 117, 104), std=(58, 57, 57), layout="nchw")
    mean, std = np.array([124, 117, 104]), np.array([58, 57, 57])
    turned = ((photos(1) - mean) / std).transpose(0, 3, 1, 2)
    assert check_calibration(data(turned.astype("f")), None, nchw) == ()


def test_features_and_ids_are_not_suspected(rng: np.random.Generator) -> None:
    features = rng.normal(size=(500, 49, 10, 1)).astype("f")
    assert check_calibration(data(features[:100]), data(features[100:])) == ()
    ids = DataSet(spec="d", arrays={"ids": rng.integers(0, 30000, (40, 16)), "mask": np.ones((40, 16), np.int64)})
    assert check_calibration(ids, ids) == ()


@pytest.mark.parametrize(
    ("change", "how", "says"),
    [
        (lambda x: x, UNIT, "raw pixels, 0..255 against 0..1?"),
        (lambda x: x, SIGNED, "raw pixels, 0..255 against -1..1?"),
        (lambda x: x / 255, Preprocess(mean=1), "divided twice, 0..1 against "),
        (lambda x: x / 255 / 255, UNIT, "divided twice, 0..1/255 against 0..1?"),
        (lambda x: x / 255, SIGNED, "0..1 against -1..1?"),
        (lambda x: x / 127.5 - 1, UNIT, "-1..1 against 0..1?"),
        (lambda x: x / 255, Preprocess(scale=1 / 255, std=255), "is scale or std given twice?"),
        (lambda x: x, Preprocess(std=1 / 255), "is scale or std given upside down?"),
        (lambda x: (x / 255).transpose(0, 3, 1, 2), UNIT, "looks like NCHW (3x32x32) and the declared layout is NHWC"),
    ],
)
def test_values_that_are_not_what_was_declared(change: Callable[[Any], Any], how: Preprocess, says: str) -> None:
    found = check_calibration(data(change(photos(1)).astype("f")), None, how)
    assert any(says in one for one in found), found
    assert check_evaluation(data(change(photos(1)).astype("f")), how)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x: x / 255, "0..1 against 0..255?"),
        (lambda x: x * 255, "is one of them divided by 255 and the other not?"),
        (lambda x: x / 127.5 - 1, "-1..1 against 0..255?"),
        (lambda x: x * 0.3, "values beyond are cut off"),
        (lambda x: x * 3, "steps are wasted"),
        (lambda x: x[..., ::-1], "RGB against BGR?"),
        (
            lambda x: x.transpose(0, 3, 1, 2),
            "of 3x32x32 and evaluation data of 32x32x3: NHWC against NCHW?",
        ),
        (lambda x: x - 150, "is the mean subtracted from one of them only?"),
    ],
)
def test_calibration_that_is_not_like_evaluation(change: Callable[[Any], Any], says: str) -> None:
    found = check_calibration(data(change(photos(1)).astype("f")), data(photos(2, 100)))
    assert any(says in one for one in found), found


def test_a_cube_that_fits_both_ways_shows_its_channels_by_being_rough() -> None:
    rng = np.random.default_rng(5)
    # 32 x 32 pictures of 32 channels that have nothing to do with each other
    planes = np.concatenate([photos(seed, 40)[..., :1] * rng.uniform(0.5, 1) for seed in range(32)], axis=3)
    assert check_calibration(data(planes[:20]), data(planes[20:])) == ()
    (found,) = check_calibration(data(planes[:20].transpose(0, 3, 1, 2)), data(planes[20:]))
    assert "channels on axis 1 and evaluation data on axis 3: NHWC against NCHW?" in found


def test_few_and_repeated_samples() -> None:
    assert "is one sample" in check_calibration(data(photos(1, 1)))[0]
    assert "has 8 samples" in check_calibration(data(photos(1, 8)))[0]
    (found,) = check_calibration(data(photos(1).repeat(2, axis=0)))
    assert found == "40 of the 80 calibration samples are there more than once"


def test_what_a_quantized_input_can_hold() -> None:
    holds = {"x": (-1.0, 0.992)}
    assert check_calibration(data(photos(1) / 127.5 - 1), None, None, holds) == ()
    (found,) = check_evaluation(data(photos(1)), None, holds)
    assert "so values are cut off: raw pixels, 0..255 against -1..1?" in found
    (found,) = check_evaluation(data(photos(1)), None, {"x": (-20000.0, 20000.0)})
    assert "so few steps are left" in found


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(value: float) -> None:
    broken = photos(1)
    broken[-1, -1, -1, -1] = value
    for one, other in ((broken, photos(2)), (photos(2), broken)):
        with pytest.raises(DataError, match="holds NaN or infinite values in 'x'"):
            check_calibration(data(one), data(other))
    with pytest.raises(DataError, match=r"evaluation data .* holds NaN"):
        check_evaluation(data(broken))


def test_constant_data_is_refused_and_one_constant_input_is_told() -> None:
    with pytest.raises(DataError, match="is constant"):
        check_calibration(data(np.full((20, 3), 2.5, np.float32)))
    both = DataSet(spec="d", arrays={"x": photos(1), "state": np.zeros((40, 4), np.float32)})
    assert check_calibration(both) == ("calibration data 'state' is constant: 0 everywhere",)


def test_declared_sounds_span_minus_one_to_one(rng: np.random.Generator) -> None:
    noise = rng.normal(size=(40, 4000)).clip(-3, 3).astype("f") / 3
    how = Preprocess(rate=16000, length=4000, std=2)
    assert check_calibration(data(noise / 2), None, how) == ()
    (found,) = check_calibration(data(noise * 2**15), None, how)
    assert "the declared preprocessing gives -0.5 to 0.5" in found
