"""`[model.source]`: which kinds there are, and which keys each takes. Standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from urllib.parse import urlsplit

from edgekit_agent.checks import one_of, within
from edgekit_agent.errors import ConfigError

PAYLOADS = ("auto", "image", "npy", "json", "raw")
STREAMS = ("rtsp", "rtsps", "http", "https")
LONGEST_TOPIC = 1024
_LARGEST_SIDE = 16_384

REQUESTS = "requests"
"""Of applications on the device: see `serve`."""
TAKES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "synthetic": (),
        "folder": ("path",),
        "wav": ("path", "hop_s"),
        "video": ("path", "url"),
        "camera": ("device", "width", "height", "fps", "fourcc"),
        "microphone": ("device", "hop_s"),
        "mqtt": ("topic", "payload", "queue"),
        REQUESTS: (),
    }
)
"""The keys of each kind, beside those that every kind has."""
_ALWAYS = ("kind", "loop", "limit", "seed")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """Where a model's input comes from.

    `device` is a camera's number or path, or a sound card as ALSA calls it; `width`, `height` (pixels), `fps` and
    `fourcc` (such as MJPG) are asked of the camera, which may give another. `hop_s` is the time from the beginning of
    one window of sound to the next. `queue` messages wait at most; then the oldest is dropped.
    """

    kind: str = "synthetic"
    path: str | None = None
    url: str | None = None
    device: str | None = None
    topic: str | None = None
    payload: str = "auto"
    queue: int = 16
    width: int = 0
    height: int = 0
    fps: float = 0.0
    fourcc: str | None = None
    hop_s: float = 0.0
    loop: bool = True
    limit: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the kind and what it needs."""
        one_of("model.source.kind", self.kind, tuple(TAKES))
        self._check_keys()
        one_of("model.source.payload", self.payload, PAYLOADS)
        for name, low, high in (
            ("limit", 0, 2**53), ("seed", 0, 2**32 - 1), ("queue", 1, 10_000), ("width", 0, _LARGEST_SIDE),
            ("height", 0, _LARGEST_SIDE), ("fps", 0, 1000), ("hop_s", 0, 3600),
        ):  # fmt: skip
            within(f"model.source.{name}", getattr(self, name), low, high)
        if self.url is not None:
            _check_stream(self.url)
        if self.topic is not None and not _is_filter(self.topic):
            raise ConfigError(f"model.source.topic '{self.topic[:80]}' is no filter of topics")
        if self.fourcc is not None and not (len(self.fourcc) == 4 and self.fourcc.isascii()):  # noqa: PLR2004  # its name
            raise ConfigError(f"model.source.fourcc '{self.fourcc[:20]}' is not four letters such as MJPG")

    def _check_keys(self) -> None:
        takes = TAKES[self.kind]
        for one in fields(self):
            if getattr(self, one.name) != one.default and one.name not in {*_ALWAYS, *takes}:
                error = ConfigError(f"model.source.{one.name} does not go with kind '{self.kind}'")
                error.add_note(f"kind '{self.kind}' takes: {', '.join((*_ALWAYS, *takes))}")
                raise error
        places = [name for name in ("path", "url", "topic") if name in takes]
        if places and sum(getattr(self, name) is not None for name in places) != 1:
            raise ConfigError(f"model.source of kind '{self.kind}' needs {' or '.join(places)}, and one alone")


def _is_filter(topic: str) -> bool:
    """Say whether a text is what MQTT subscribes to: + stands for a whole level, # for the last ones."""
    levels = topic.split("/")
    wild = all(level in {"+", "#"} or not {"+", "#"} & set(level) for level in levels)
    return 0 < len(topic.encode()) <= LONGEST_TOPIC and wild and "#" not in levels[:-1] and "\0" not in topic


def _check_stream(url: str) -> None:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in STREAMS and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound:
        raise ConfigError(
            f"model.source.url '{without_password(url)}' is not of the form rtsp://host/... or http://host/..."
        )


def without_password(url: str) -> str:
    """Return an address as it may be shown."""
    head, at, tail = url.rpartition("@")
    return f"{head.partition('//')[0]}//***@{tail}" if at else url
