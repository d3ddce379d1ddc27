"""Sounds cut into windows, and messages as inputs."""

import json
import struct
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgekit_agent.errors import AgentError, InputDataError
from edgekit_agent.preprocess import Preprocess
from edgekit_agent.runtimes.base import TensorSpec
from edgekit_agent.sources import open_source
from edgekit_agent.sources.base import Sample, Source
from edgekit_agent.sources.payloads import Payloads
from edgekit_agent.sources.settings import SourceConfig
from edgekit_agent.sources.wanted import Wanted

HEARD = (TensorSpec(name="sound", shape=(1, 4), dtype="float32"),)


def wav(path: Path, values: Sequence[float], *, rate: int = 8000, bits: int = 16, channels: int = 1) -> None:
    scaled = np.repeat(np.asarray(values), channels) * 2 ** (bits - 1)
    if bits == 24:
        data = b"".join(int(one).to_bytes(3, "little", signed=True) for one in scaled)
    else:
        data = scaled.astype(f"<i{bits // 8}").tobytes()
    frame = channels * bits // 8
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * frame, frame, bits)
    body = b"WAVE" + head + b"data" + struct.pack("<I", len(data)) + data
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)


def opened(path: Path, kind: str = "wav", how: Preprocess | None = None, **more: Any) -> Source:
    config = SourceConfig(kind=kind, path=str(path), loop=False, **more)
    return open_source(config, Wanted(inputs=HEARD, preprocess=how or Preprocess()))


def values(source: Source) -> list[list[float]]:
    return [source.prepare(one).arrays[0][0].tolist() for one in source.samples() if isinstance(one, Sample)]


RISING = [0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, -0.5]


@pytest.mark.parametrize(("bits", "channels"), [(16, 1), (16, 2), (24, 1), (32, 3)])
def test_a_sound_is_cut_into_whole_windows_one_behind_the_other(tmp_path: Path, bits: int, channels: int) -> None:
    wav(tmp_path / "a.wav", RISING, bits=bits, channels=channels)
    assert values(opened(tmp_path / "a.wav")) == [RISING[:4], RISING[4:8]]


def test_a_hop_lets_windows_overlap(tmp_path: Path) -> None:
    wav(tmp_path / "a.wav", RISING)
    assert values(opened(tmp_path, hop_s=2 / 8000)) == [RISING[at : at + 4] for at in (0, 2, 4)]


def test_a_sound_shorter_than_a_window_ends_in_silence(tmp_path: Path) -> None:
    wav(tmp_path / "a.wav", [0.5, 0.25])
    assert values(opened(tmp_path)) == [[0.5, 0.25, 0, 0]]


def test_the_hop_is_counted_at_the_rate_that_is_asked_for(tmp_path: Path) -> None:
    wav(tmp_path / "a.wav", [0.5] * 160, rate=16_000)
    windows = values(opened(tmp_path, how=Preprocess(rate=8000), hop_s=0.001))
    assert len(windows) == (80 - 4) // 8 + 1


def test_a_folder_of_sounds_gives_each_as_an_evaluation_reads_it(tmp_path: Path) -> None:
    wav(tmp_path / "yes" / "a.wav", RISING)
    wav(tmp_path / "no" / "b.wav", [0.5])
    source = opened(tmp_path, kind="folder")
    assert values(source) == [[0.5, 0, 0, 0], RISING[:4]]
    assert [one.label for one in source.samples() if isinstance(one, Sample)] == [0, 1]
    how = Preprocess(length=4)
    assert values(source) == [how.sound(tmp_path / name)[0].tolist() for name in ("no/b.wav", "yes/a.wav")]


def test_a_broken_sound_is_an_error_of_its_own(tmp_path: Path) -> None:
    wav(tmp_path / "a.wav", RISING)
    (tmp_path / "b.wav").write_bytes(b"RIFF....WAVE")
    wav(tmp_path / "c.wav", RISING)
    kinds = [type(one).__name__ for one in opened(tmp_path).samples()]
    assert kinds == ["Sample", "Sample", "InputDataError", "Sample", "Sample"]


def test_no_sounds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"holds no sounds"):
        opened(tmp_path)
    with pytest.raises(InputDataError, match="does not exist"):
        opened(tmp_path / "gone")


# --- messages

PHOTO = TensorSpec(name="image", shape=(1, 6, 8, 3), dtype="float32")
VECTOR = TensorSpec(name="x", shape=(1, 3), dtype="float32")


def payloads(spec: TensorSpec, form: str = "auto", **how: Any) -> Payloads:
    return Payloads(Wanted(inputs=(spec,), preprocess=Preprocess.from_mapping(how)), form, "topic 'a'")


def npy(array: Any) -> bytes:
    content = BytesIO()
    np.save(content, array, allow_pickle=True)
    return content.getvalue()


def picture(kind: str = "JPEG", size: tuple[int, int] = (8, 6)) -> bytes:
    content = BytesIO()
    Image.new("RGB", size, (10, 20, 30)).save(content, kind)
    return content.getvalue()


@pytest.mark.parametrize(
    "payload",
    [
        b"[1, 2, 3]", b" [[1, 2, 3]]", b'{"x": [1.0, 2.0, 3.0]}', npy(np.array([1, 2, 3])),
        npy(np.array([[1.0, 2, 3]])),
        np.array([1, 2, 3], "<f4").tobytes(),
    ],
    ids=["list", "with batch", "by name", "npy", "npy with batch", "bare"],
)  # fmt: skip
def test_every_form_of_a_message_is_told_by_its_beginning(payload: bytes) -> None:
    assert payloads(VECTOR).prepare(payload).arrays[0].tolist() == [[1, 2, 3]]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP"])
def test_a_message_is_a_picture(kind: str) -> None:
    prepared = payloads(PHOTO).prepare(picture(kind, (16, 12)))
    assert prepared.arrays[0].shape == (1, 6, 8, 3)
    assert prepared.placement is not None
    assert prepared.placement.source == (12, 16)


def _bomb() -> bytes:
    content = BytesIO()
    Image.new("1", (9000, 9000)).save(content, "PNG")
    return content.getvalue()


_FORTRAN = npy(np.asfortranarray(np.arange(144.0).reshape(6, 8, 3)))


def test_a_npy_of_columns_is_read_as_what_it_is() -> None:
    assert payloads(PHOTO).prepare(_FORTRAN).arrays[0].ravel().tolist() == list(range(144))


@pytest.mark.parametrize(
    ("spec", "payload", "sentence"),
    [
        (VECTOR, b"", "has 0 bytes and the input 12"),
        (VECTOR, b"[1, 2", "is no JSON"),
        (VECTOR, b"[" * 100_000, "is no JSON"),
        (VECTOR, b"[[1], [2, 3]]", "lists of different lengths"),
        (VECTOR, b'["a", "b", "c"]', "takes numbers"),
        (VECTOR, b"[1, 2]", "takes 1x3 and 1x2"),
        (VECTOR, b'{"y": [1]}', "are not the inputs x"),
        (VECTOR, b'{"x": null}', "input 'x' takes"),
        (VECTOR, picture(), "is a picture and the model takes none"),
        (VECTOR, npy(np.array([None], dtype=object)), "no .npy of numbers"),
        (VECTOR, npy(np.zeros(3))[:-1], "no .npy of numbers"),
        (VECTOR, npy(np.zeros(3)).replace(b"(3,)", b"(1 << 62,)"), "no .npy of numbers"),
        (VECTOR, npy(np.zeros(3)).replace(b"(3,), }       ", b"(99999999999,), }"), "no .npy of numbers"),
        (VECTOR, b"\x93NUMPY", "no .npy of numbers"),
        (VECTOR, b"\x93NUMPY\x01\x00\x04\x00\x00\x00\x00{", "no .npy of numbers"),
        (PHOTO, picture()[:100], "cannot be read"),
        (PHOTO, _bomb(), "more than 64000000 pixels"),
    ],
    ids=range(17),
)
def test_a_broken_message_is_one_sentence(spec: TensorSpec, payload: bytes, sentence: str) -> None:
    with pytest.raises(InputDataError, match=sentence):
        payloads(spec).prepare(payload)


@given(st.binary(max_size=300), st.sampled_from([VECTOR, PHOTO]))
def test_any_bytes_are_an_input_or_an_error(payload: bytes, spec: TensorSpec) -> None:
    for head in (b"", b"\x93NUMPY\x01\x00", b"\xff\xd8\xff", b"{"):
        try:
            prepared = payloads(spec).prepare(head + payload)
        except AgentError:
            continue
        assert spec.takes(prepared.arrays[0].shape)


def test_json_that_is_deep_or_long_does_not_end_the_worker() -> None:
    with pytest.raises(InputDataError):
        payloads(VECTOR).prepare(json.dumps({"x": list(range(10_000))}).encode())
