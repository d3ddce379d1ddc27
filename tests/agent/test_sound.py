"""Sounds: every coding of samples, other rates against SciPy's filter, and broken files."""

import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from edgekit_agent.errors import ConfigError, InputDataError
from edgekit_agent.preprocess import Preprocess
from edgekit_agent.sound import read_wav, resampled


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def wav(content: bytes, tag: int = 1, bits: int = 16, *, channels: int = 1, rate: int = 16000) -> bytes:
    frame = channels * bits // 8
    form = struct.pack("<HHIIHH", tag, channels, rate, (rate * frame) % 2**32, frame, bits)
    body = b"WAVE" + chunk(b"fmt ", form) + chunk(b"LIST", b"odd") + chunk(b"data", content)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def write(folder: Path, data: bytes) -> Path:
    path = folder / "s.wav"
    path.write_bytes(data)
    return path


VALUES = np.array([0.0, 0.5, -0.5, -1.0, 0.25])


@pytest.mark.parametrize(
    ("tag", "bits", "content"),
    [
        (1, 8, (VALUES * 128 + 128).astype(np.uint8).tobytes()),
        (1, 16, (VALUES * 2**15).astype("<i2").tobytes()),
        (1, 24, b"".join(int(v * 2**23).to_bytes(3, "little", signed=True) for v in VALUES)),
        (1, 32, (VALUES * 2**31).astype("<i4").tobytes()),
        (3, 32, VALUES.astype("<f4").tobytes()),
        (3, 64, VALUES.astype("<f8").tobytes()),
    ],
    ids=["u8", "s16", "s24", "s32", "f32", "f64"],
)
def test_every_coding_gives_the_same_values(tmp_path: Path, tag: int, bits: int, content: bytes) -> None:
    samples, rate = read_wav(write(tmp_path, wav(content, tag=tag, bits=bits)))
    assert samples.dtype == np.float32
    assert rate == 16000
    assert np.array_equal(samples, VALUES)


def test_channels_are_averaged(tmp_path: Path) -> None:
    both = np.array([[2, 4], [-6, 2]], "<i2") * 1024
    samples, _ = read_wav(write(tmp_path, wav(both.tobytes(), channels=2)))
    assert np.array_equal(samples, [3 / 32, -2 / 32])


def test_the_extensible_form_names_its_coding_in_the_sub_format(tmp_path: Path) -> None:
    data = wav(VALUES.astype("<f4").tobytes(), tag=0xFFFE, bits=32)
    form = data[12:36]
    extended = chunk(b"fmt ", form[8:] + struct.pack("<HHIH", 22, 32, 0, 3) + bytes(14))
    data = data.replace(form, extended)
    assert np.array_equal(read_wav(write(tmp_path, data))[0], VALUES)


def test_what_the_standard_library_writes_is_read(tmp_path: Path, rng: np.random.Generator) -> None:
    wanted = rng.integers(-(2**15), 2**15, 1001, dtype=np.int16)
    with wave.open(str(tmp_path / "s.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(wanted.tobytes())
    samples, rate = read_wav(tmp_path / "s.wav")
    assert rate == 8000
    assert np.array_equal(samples * 2**15, wanted)


GOOD = wav((VALUES * 2**15).astype("<i2").tobytes())


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a WAVE"),
        (b"RIFF\0\0\0\0AVI rest", "not a WAVE"),
        (GOOD[:30], "ends before"),
        (GOOD[:-4], "ends before its chunk of 10 bytes"),
        (GOOD.replace(b"fmt ", b"junk"), "has no format"),
        (GOOD.replace(b"data", b"junk"), "has no samples"),
        (wav(b""), "has no samples"),
        (wav(b"\0\0\0"), "middle of a sample"),
        (wav(b"\0" * 8, tag=0x55), "neither PCM nor float"),
        (wav(b"\0" * 8, bits=20), "neither PCM nor float"),
        (wav(b"\0" * 8, channels=0), "0 channels"),
        (wav(b"\0" * 8, rate=0), "at 0 hertz"),
        (wav(b"\0" * 8, rate=2**32 - 1), "hertz"),
        (b"RIFF\0\0\0\0WAVE" + b"data\xff\xff\xff\xff", "ends before its chunk of 4294967295"),
        (b"RIFF\0\0\0\0WAVE" + chunk(b"fmt ", b"1234"), "format chunk of 4 bytes"),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path: Path, data: bytes, says: str) -> None:
    with pytest.raises(InputDataError, match=rf"s\.wav.*({says})"):
        read_wav(write(tmp_path, data))


def test_a_missing_and_a_huge_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="cannot be read"):
        read_wav(tmp_path / "no.wav")
    with (tmp_path / "huge.wav").open("wb") as file:
        file.truncate((1 << 30) + 1)
    with pytest.raises(InputDataError, match="larger than"):
        read_wav(tmp_path / "huge.wav")


@pytest.mark.parametrize(
    ("count", "rate", "wanted"),
    [(1000, 8000, 16000), (999, 16000, 8000), (5000, 44100, 16000), (37, 48000, 44100), (1, 8000, 16000), (3, 1, 7)],
)
def test_another_rate_is_what_scipy_makes_of_it(rng: np.random.Generator, count: int, rate: int, wanted: int) -> None:
    signal = pytest.importorskip("scipy.signal")
    samples = rng.normal(size=count).astype(np.float32)
    got = resampled(samples, rate, wanted)
    step = np.gcd(rate, wanted)
    expected = signal.resample_poly(samples.astype(np.float64), wanted // step, rate // step)
    assert got.shape == expected.shape
    # sums of some 20 to 60 float32 products of values up to 4
    assert np.abs(got - expected).max() < 2e-6


def test_a_tone_keeps_its_pitch() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(44100) / 44100).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(resampled(tone, 44100, 16000)))
    assert spectrum.argmax() == 440


def test_length_cuts_or_fills_with_silence_and_values_are_normalized_after(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    assert np.array_equal(Preprocess(length=3).sound(path)[0], VALUES[:3])
    assert np.array_equal(Preprocess(length=7).sound(path)[0], [*VALUES, 0, 0])
    assert np.array_equal(Preprocess(length=2, mean=1, std=2).sound(path)[0], [-0.5, -0.25])
    samples, rate = Preprocess(rate=8000, length=4).sound(path)
    assert (samples.shape, rate) == ((4,), 8000)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"rate": 0}, "'rate'"),
        ({"rate": 16000.0}, "'rate'"),
        ({"length": -1}, "'length'"),
        ({"length": True}, "'length'"),
        ({"columns": []}, "'columns'"),
        ({"columns": [1.5]}, "'columns'"),
        ({"label": -1}, "'label'"),
    ],
)
def test_wrong_settings_are_one_sentence(values: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Preprocess.from_mapping(values)


def test_settings_of_sounds_and_tables_survive_there_and_back() -> None:
    how = Preprocess(rate=16000, length=400, columns=("a", 2), label="b")
    assert Preprocess.from_mapping(how.to_mapping()) == how
