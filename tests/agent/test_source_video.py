"""Videos, streams and cameras through OpenCV: real frames, real files, a real server that goes away."""

import http.server
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgekit_agent.errors import InputDataError, RuntimeMissingError, StreamError
from edgekit_agent.preprocess import Preprocess
from edgekit_agent.runtimes.base import TensorSpec
from edgekit_agent.sources import live, open_source
from edgekit_agent.sources.base import Sample, Source
from edgekit_agent.sources.settings import SourceConfig
from edgekit_agent.sources.wanted import Wanted
from tests.agent.test_source_live import take, wait_until

PHOTO = (TensorSpec(name="image", shape=(1, 48, 64, 3), dtype="float32"),)
GRAYS = (20, 90, 160, 230)


@pytest.fixture
def cv2() -> object:
    return pytest.importorskip("cv2", reason="needs OpenCV: make setup-frameworks")


@pytest.fixture
def film(cv2: object, tmp_path: Path) -> Path:
    """Four frames of one colour each, motion JPEG in an AVI."""
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))  # type: ignore[attr-defined]  # a module
    for gray in GRAYS:
        writer.write(np.full((48, 64, 3), gray, np.uint8))
    writer.release()
    return path


def opened(**config: object) -> Source:
    return open_source(SourceConfig(**config), Wanted(inputs=PHOTO, preprocess=Preprocess()))  # type: ignore[arg-type]  # as a test says


def grays(source: Source, samples: list[Sample]) -> list[int]:
    # JPEG rounds, and so does the way from one colour space to the other and back
    return [round(float(pixels(source, one).mean()) / 10) * 10 for one in samples]


def pixels(source: Source, sample: Sample) -> "NDArray[np.float32]":
    return source.prepare(sample).arrays[0].astype(np.float32)


def test_every_frame_of_a_file_is_given_in_turn_and_again(film: Path) -> None:
    source = opened(kind="video", path=str(film), limit=6)
    found = [one for one in source.samples() if isinstance(one, Sample)]
    assert grays(source, found) == [20, 90, 160, 230, 20, 90]
    assert source.prepare(found[0]).arrays[0].shape == (1, 48, 64, 3)


def test_colours_are_not_swapped(cv2: object, tmp_path: Path) -> None:
    path = tmp_path / "red.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))  # type: ignore[attr-defined]  # a module
    writer.write(np.full((48, 64, 3), (0, 0, 250), np.uint8))  # OpenCV has blue first
    writer.release()
    source = opened(kind="video", path=str(path), loop=False)
    (frame,) = (one for one in source.samples() if isinstance(one, Sample))
    red, green, blue = pixels(source, frame).mean(axis=(0, 1, 2)).tolist()
    assert red > 240
    assert max(green, blue) < 15


def test_a_file_that_is_cut_gives_the_frames_it_has(cv2: object, tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))  # type: ignore[attr-defined]  # a module
    for _ in range(20):
        writer.write(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    writer.release()
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    source = opened(kind="video", path=str(path), loop=False)
    found = [one for one in source.samples() if isinstance(one, Sample)]
    assert 0 < len(found) < 20
    assert {pixels(source, one).shape for one in found} == {(1, 48, 64, 3)}


@pytest.mark.parametrize("content", [None, b"", b"no film at all"], ids=["missing", "empty", "text"])
def test_what_is_no_video_is_refused(cv2: object, tmp_path: Path, content: bytes | None) -> None:
    assert cv2
    path = tmp_path / "bad.avi"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputDataError, match=r"bad\.avi"):
        opened(kind="video", path=str(path))


def test_a_video_for_a_model_that_takes_no_image_is_refused(film: Path) -> None:
    vector = (TensorSpec(name="x", shape=(1, 4), dtype="float32"),)
    with pytest.raises(InputDataError, match="does not take one image"):
        open_source(SourceConfig(kind="video", path=str(film)), Wanted(inputs=vector, preprocess=Preprocess()))


def test_a_file_that_vanishes_is_an_error_and_then_the_end(film: Path) -> None:
    source = opened(kind="video", path=str(film))
    items = source.samples()
    take(items, len(GRAYS))
    film.unlink()
    assert isinstance(next(items), InputDataError)
    assert list(items) == []


class Camera:
    """A network camera: motion JPEG over HTTP, on a port of its own."""

    def __init__(self, port: int = 0) -> None:
        """Begin to serve."""
        self.sent = 0
        self.open = True
        camera = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                try:
                    while camera.open:
                        time.sleep(0.002)
                        content = BytesIO()
                        Image.new("RGB", (64, 48), (camera.sent % 200,) * 3).save(content, "JPEG")
                        data = content.getvalue()
                        head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data)
                        self.wfile.write(head + data + b"\r\n")
                        camera.sent += 1
                except OSError:
                    return

            def log_message(self, *_words: object) -> None:
                return

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.open = False
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def camera() -> Iterator[Callable[..., Camera]]:
    made: list[Camera] = []

    def make(port: int = 0) -> Camera:
        made.append(Camera(port))
        return made[-1]

    yield make
    for one in made:
        if one.open:
            one.close()


@pytest.mark.slow
def test_the_newest_frame_of_a_stream_wins_and_the_others_are_counted(
    cv2: object, camera: Callable[..., Camera]
) -> None:
    assert cv2
    stream = camera()
    source = opened(kind="video", url=f"http://127.0.0.1:{stream.port}/film.mjpg")
    items = source.samples()
    take(items, 1)
    before = source.dropped
    wait_until(lambda: source.dropped > before + 20)  # nobody takes them
    take(items, 3)
    source.close()
    assert source.dropped < stream.sent


@pytest.mark.slow
def test_a_stream_that_goes_is_told_and_comes_back(
    cv2: object, camera: Callable[..., Camera], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cv2
    monkeypatch.setattr(live, "BACKOFF_S", (0.2,))
    stream = camera()
    source = opened(kind="video", url=f"http://127.0.0.1:{stream.port}/film.mjpg")
    items = source.samples()
    take(items, 2)
    stream.close()
    (error,) = take(items, 1, StreamError)
    assert str(error).startswith(f"stream 'http://127.0.0.1:{stream.port}/film.mjpg'")
    camera(stream.port)
    take(items, 2)
    source.close()


def test_a_camera_that_is_not_there_is_told_and_waited_for(cv2: object) -> None:
    assert cv2
    source = opened(kind="camera", device="/dev/video-of-nobody")
    (error,) = take(source.samples(), 1, StreamError)
    source.close()
    assert str(error) == "camera '/dev/video-of-nobody' is not there"


def test_a_file_is_no_camera(cv2: object, film: Path) -> None:
    assert cv2
    source = opened(kind="camera", device=str(film))
    (error,) = take(source.samples(), 1, StreamError)
    source.close()
    assert "is not there" in str(error)


def test_without_opencv_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(RuntimeMissingError, match="OpenCV") as caught:
        opened(kind="camera")
    assert caught.value.__notes__ == ["pip install 'edgekit-agent[video]'"]


def test_a_motion_jpeg_frame_without_its_tables_is_decoded() -> None:
    """USB cameras leave the Huffman tables out, which every JPEG's decoder knows (ISO 10918-1, annex K)."""
    content = BytesIO()
    Image.new("RGB", (64, 48), (200, 100, 50)).save(content, "JPEG")
    data = content.getvalue()
    kept, at = data[:2], 2
    while data[at + 1] != 0xDA:
        size = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] != 0xC4:
            kept += data[at : at + size]
        at += size
    kept += data[at:]
    assert len(kept) < len(data) - 300
    assert np.array_equal(Preprocess().image(kept), Preprocess().image(data))
