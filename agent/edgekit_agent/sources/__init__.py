"""Where a model's input comes from: made from a seed, files, cameras, streams, microphones, messages.

`SOURCES` is the table of kinds; a kind's keys stand in `sources.settings`.
"""

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgekit_agent.sources.settings import SourceConfig

if TYPE_CHECKING:  # the configuration imports `settings`, and the supervisor stays without NumPy
    from edgekit_agent.sources.base import Source
    from edgekit_agent.sources.wanted import Wanted

SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "synthetic": "edgekit_agent.sources.synthetic:open_synthetic",
        "folder": "edgekit_agent.sources.folder:open_folder",
        "wav": "edgekit_agent.sources.sounds:open_wav",
        "video": "edgekit_agent.sources.video:open_video",
        "camera": "edgekit_agent.sources.video:open_camera",
        "microphone": "edgekit_agent.sources.microphone:open_microphone",
        "mqtt": "edgekit_agent.sources.mqtt:open_mqtt",
    }
)
"""Kind -> "module:function" that opens it, loaded on use."""


def open_source(config: SourceConfig, wanted: "Wanted") -> "Source":
    """Return the source of a configuration.

    What is not there for now (a camera, a stream) is no error: it is tried again and again.

    Raises:
        InputDataError: if files are missing, empty, mixed, or the kind does not fit the model.
        RuntimeMissingError: if a library or program that the kind needs is not installed.
    """
    from edgekit_agent.sources.base import Limited

    module, _, name = SOURCES[config.kind].partition(":")
    opener: Callable[[SourceConfig, Wanted], Source] = getattr(importlib.import_module(module), name)
    return Limited(opener(config, wanted), loop=config.loop, limit=config.limit)
