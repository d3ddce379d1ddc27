"""Images worked out by hand with Pillow and NumPy."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.Image import Resampling

from edgekit_agent.errors import ConfigError, InputDataError
from edgekit_agent.preprocess import Preprocess


@pytest.fixture
def photo(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A picture of 20 rows and 30 columns."""
    path = tmp_path / "photo.png"
    Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
    return path


def pixels(path: Path) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    with Image.open(path) as picture:
        return np.asarray(picture, dtype=np.float32)


def test_without_settings_the_pixels_are_the_values(photo: Path) -> None:
    values = Preprocess().image(photo)
    assert values.dtype == np.float32
    assert np.array_equal(values, pixels(photo))


def test_scale_then_mean_then_std(photo: Path) -> None:
    values = Preprocess(scale=1 / 255, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.5)).image(photo)
    mean, std = np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.25, 0.5])
    # three operations in float32 on values up to 1, divided by 0.2
    assert np.allclose(values.tolist(), (pixels(photo) / 255 - mean) / std, rtol=0, atol=2e-6)


def test_the_short_side_is_resized_and_the_middle_cropped(photo: Path) -> None:
    values = Preprocess(resize=10, crop=(8, 6)).image(photo)
    with Image.open(photo) as picture:
        wanted = np.asarray(picture.resize((15, 10), Resampling.BILINEAR).crop((4, 1, 10, 9)), dtype=np.float32)
    assert values.shape == (8, 6, 3)
    assert np.array_equal(values, wanted)


def test_resizing_to_height_and_width(photo: Path) -> None:
    assert Preprocess(resize=(7, 9)).image(photo).shape == (7, 9, 3)


def test_channel_order_and_layout(photo: Path) -> None:
    assert np.array_equal(Preprocess(order="bgr").image(photo), pixels(photo)[..., ::-1])
    assert np.array_equal(Preprocess(layout="nchw").image(photo), pixels(photo).transpose(2, 0, 1))


def test_gray_has_one_channel(photo: Path) -> None:
    with Image.open(photo) as picture:
        wanted = np.asarray(picture.convert("L"), dtype=np.float32)[..., None]
    assert np.array_equal(Preprocess(order="gray").image(photo), wanted)


def test_a_picture_takes_the_model_s_size_when_nothing_is_said(photo: Path) -> None:
    assert Preprocess().image(photo, (5, 6)).shape == (5, 6, 3)


def test_a_size_that_was_set_and_does_not_fit_is_refused(photo: Path) -> None:
    with pytest.raises(InputDataError, match="8x8 after preprocessing and the model takes 5x6"):
        Preprocess(resize=(8, 8)).image(photo, (5, 6))


def test_a_crop_larger_than_the_picture_is_refused(photo: Path) -> None:
    with pytest.raises(InputDataError, match="smaller than crop 25x25"):
        Preprocess(crop=25).image(photo)


def test_three_means_for_one_channel_are_refused(photo: Path) -> None:
    with pytest.raises(InputDataError, match="'mean' is not one number or one for each of 1"):
        Preprocess(order="gray", mean=(1, 2, 3)).image(photo)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"], ids=["empty", "text", "cut"])
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(InputDataError, match=r"bad\.png"):
        Preprocess().image(path)


def test_a_truncated_picture_is_refused(photo: Path) -> None:
    photo.write_bytes(photo.read_bytes()[:-200])
    with pytest.raises(InputDataError, match=r"photo\.png"):
        Preprocess().image(photo)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    Image.new("1", (8001, 8001)).save(path)
    with pytest.raises(InputDataError, match="more than 64000000 pixels"):
        Preprocess().image(path)


def test_a_thin_picture_is_not_blown_up_without_bound(tmp_path: Path) -> None:
    path = tmp_path / "thin.png"
    Image.new("L", (60_000, 1)).save(path)
    with pytest.raises(InputDataError, match="too long to be resized to 2000"):
        Preprocess(resize=2000).image(path)


def test_settings_survive_there_and_back() -> None:
    how = Preprocess(resize=256, crop=(224, 200), scale=0.5, mean=(1, 2, 3), order="bgr")
    assert Preprocess.from_mapping(how.to_mapping()) == how
    assert Preprocess().to_mapping() == {}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"reszie": 3}, "preprocess has no 'reszie'; it has: columns, crop"),
        ({"resize": 0}, "'resize'"),
        ({"resize": [1, 2, 3]}, "'resize'"),
        ({"crop": 1.5}, "'crop'"),
        ({"crop": 10**6}, "up to 16384"),
        ({"mean": []}, "'mean'"),
        ({"mean": [True]}, "'mean'"),
        ({"scale": "1/255"}, "'scale'"),
        ({"scale": float("inf")}, "'scale'"),
        ({"scale": 10**400}, "'scale'"),
        ({"std": [1, 0, 1]}, "'std' is 0"),
        ({"order": "rbg"}, "'order' is 'rbg' and not one of: rgb, bgr, gray"),
        ({"layout": 3}, "'layout'"),
    ],
)
def test_wrong_settings_are_one_sentence(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Preprocess.from_mapping(values)


def test_a_letterbox_holds_the_whole_picture_in_its_own_shape(photo: Path) -> None:
    values = Preprocess(letterbox=(40, 45), fill=114).image(photo)
    with Image.open(photo) as picture:
        inside = np.asarray(picture.resize((45, 30), Resampling.BILINEAR), dtype=np.float32)
    assert values.shape == (40, 45, 3)
    assert np.array_equal(values[5:35], inside)
    assert (values[:5] == 114).all()
    assert (values[35:] == 114).all()


def test_the_rim_of_a_letterbox_is_a_pixel_like_any_other(photo: Path) -> None:
    values = Preprocess(letterbox=30, fill=100, mean=50, std=25).image(photo)
    assert (values[:5] == 2).all()


@pytest.mark.parametrize("name", ["nearest", "box", "bicubic", "lanczos"])
def test_interpolation_is_pillow_s(photo: Path, name: str) -> None:
    with Image.open(photo) as picture:
        wanted = np.asarray(picture.resize((9, 7), Resampling[name.upper()]), dtype=np.float32)
    assert np.array_equal(Preprocess(resize=(7, 9), interpolation=name).image(photo), wanted)


def test_a_letterbox_stands_in_place_of_resize_and_crop() -> None:
    with pytest.raises(ConfigError, match="stands in place of"):
        Preprocess.from_mapping({"letterbox": 320, "crop": 224})


def test_a_picture_s_bytes_are_read_as_its_file(photo: Path) -> None:
    assert np.array_equal(Preprocess().image(photo.read_bytes()), Preprocess().image(photo))
    with pytest.raises(InputDataError, match="an image of 9 bytes cannot be read"):
        Preprocess().image(b"no image!")


def test_only_plain_formats_are_opened(tmp_path: Path) -> None:
    """An EPS in the clothes of a PNG would be handed to a program outside."""
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    with pytest.raises(InputDataError, match=r"a\.png"):
        Preprocess().image(path)
