"""Cameras (V4L2), video files and network streams, through OpenCV and the FFmpeg in it."""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edgekit_agent.errors import InputDataError, RuntimeMissingError, StreamError
from edgekit_agent.placing import MAX_PIXELS
from edgekit_agent.sources.base import Item, Prepared, Sample, Source, Stored
from edgekit_agent.sources.live import Feed, Live
from edgekit_agent.sources.pictures import Pictures
from edgekit_agent.sources.settings import SourceConfig, without_password
from edgekit_agent.sources.wanted import Wanted

TIMEOUT_MS = 5000
_FFMPEG_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"

Capture = Any
"""cv2.VideoCapture; where OpenCV is not installed there is no type either."""


class _Frames:
    """Makes inputs of frames as OpenCV gives them: uint8 [H, W, 3], blue first."""

    def __init__(self, wanted: Wanted, what: str) -> None:
        self._pictures, self._what = Pictures(wanted, what), what

    def prepare(self, sample: Sample) -> Prepared:
        from PIL import Image

        frame = sample.raw
        return self._pictures.prepare(Image.fromarray(_cv2().cvtColor(frame, _cv2().COLOR_BGR2RGB)), self._what)


class VideoFile(Stored):
    """Every frame of a video file, as fast as they are taken."""

    def __init__(self, path: Path, wanted: Wanted) -> None:
        """Check that it can be opened."""
        self._path, self._what = path, f"video '{path}'"
        self.prepare = _Frames(wanted, self._what).prepare
        self._open().release()

    def _open(self) -> Capture:
        if not self._path.is_file():
            raise InputDataError(f"{self._what} does not exist")
        return _opened(str(self._path), _cv2().CAP_ANY, (), self._what, InputDataError)

    def samples(self) -> Iterator[Item]:
        """Yield every frame."""
        try:
            capture = self._open()
        except InputDataError as exc:  # it was there when the source was opened
            yield exc
            return
        with contextlib.closing(_Released(capture)):
            while True:
                there, frame = capture.read()
                if not there:
                    return
                yield Sample(frame)


class LiveVideo(Live):
    """The newest frame of a camera or network stream; one that is gone is opened again, later each time."""

    def __init__(self, wanted: Wanted, what: str, open_it: Callable[[], Capture]) -> None:
        """Take a function that opens it."""
        super().__init__("video", 1)
        self._what, self._open = what, open_it
        self.prepare = _Frames(wanted, what).prepare

    def _read(self, feed: Feed) -> None:
        capture = self._open()
        with contextlib.closing(_Released(capture)):
            while not feed.stopping.is_set():
                there, frame = capture.read()
                if not there:
                    raise StreamError(f"{self._what} gives no more frames")
                feed.put(Sample(frame))


class _Released:
    """A capture that is closed as files are."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture

    def close(self) -> None:
        self._capture.release()


def open_video(config: SourceConfig, wanted: Wanted) -> Source:
    """Return the frames of a file, each in its turn, or of a network stream, the newest.

    Raises:
        InputDataError: if the file cannot be opened or the model does not take one image.
        RuntimeMissingError: if OpenCV is not installed.
    """
    _cv2()
    if config.url is None:
        return VideoFile(Path(config.path or ""), wanted)
    url = config.url
    what = f"stream '{without_password(url)}'"
    # frames over UDP are lost one packet at a time, and what is left is smeared pictures
    os.environ.setdefault(_FFMPEG_OPTIONS, "rtsp_transport;tcp")

    def open_it() -> Capture:
        cv2 = _cv2()
        patience = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, TIMEOUT_MS)
        return _opened(url, cv2.CAP_FFMPEG, patience, what, StreamError)

    return LiveVideo(wanted, what, open_it)


def open_camera(config: SourceConfig, wanted: Wanted) -> Source:
    """Return the newest frame of a camera; it need not be there yet.

    Raises:
        InputDataError: if the model does not take one image.
        RuntimeMissingError: if OpenCV is not installed.
    """
    _cv2()
    device = config.device or "0"
    path = f"/dev/video{device}" if device.isdecimal() else device
    what = f"camera '{path}'"

    def open_it() -> Capture:
        cv2 = _cv2()
        if not _is_device(path):
            raise StreamError(f"{what} is not there")
        asked = {
            cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*config.fourcc) if config.fourcc else 0,
            cv2.CAP_PROP_FRAME_WIDTH: config.width,
            cv2.CAP_PROP_FRAME_HEIGHT: config.height,
            cv2.CAP_PROP_FPS: config.fps,
        }
        capture = _opened(path, cv2.CAP_V4L2, (), what, StreamError)
        for key, value in asked.items():
            if value:
                capture.set(key, value)  # what it does not have, it gives otherwise
        return capture

    return LiveVideo(wanted, what, open_it)


def _is_device(path: str) -> bool:
    try:
        return stat.S_ISCHR(Path(path).stat().st_mode)
    except OSError:
        return False


def _opened(
    what_to_open: str, backend: int, parameters: tuple[int, ...], what: str, error: type[InputDataError | StreamError]
) -> Capture:
    cv2 = _cv2()
    try:
        capture = cv2.VideoCapture(what_to_open, backend, list(parameters))
    except cv2.error as exc:
        raise error(f"{what} cannot be opened: {exc.err}") from exc
    if not capture.isOpened():
        raise error(f"{what} cannot be opened")
    if capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT) > MAX_PIXELS:
        capture.release()
        raise error(f"{what} has frames of more than {MAX_PIXELS} pixels")
    return capture


def _cv2() -> Any:  # noqa: ANN401  # a module that may not be there
    try:
        import cv2
    except ImportError as exc:
        missing = RuntimeMissingError(f"cameras and videos need OpenCV, which cannot be imported: {exc}")
        missing.add_note("pip install 'edgekit-agent[video]'")
        raise missing from exc
    return cv2
