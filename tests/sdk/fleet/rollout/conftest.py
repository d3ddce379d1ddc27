"""A store, and a fleet in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.fleet.store import DeviceKey, Store, open_store
from edgekit.fleet.wire import decode
from edgekit_agent.protocol import Info, InstalledModel, Kind, State


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store with four devices that serve version 1.2.0 of a model."""
    with open_store(f"sqlite:///{tmp_path}/fleet.db") as opened:
        model = InstalledModel(name="kws", version="1.2.0", artifact="a", format="tflite")
        info = Info(agent="0.1.0", hardware={}, runtimes={}, models=(model,)).to_bytes()
        state = State(state="online", birth=1, boot="b").to_bytes()
        for number in range(4):
            key = DeviceKey("lab", f"dev-{number}")
            opened.devices.put_state(key, decode(Kind.STATE, state), 1)  # type: ignore[arg-type]  # of that kind
            opened.devices.put_info(key, decode(Kind.INFO, info), info, 1)  # type: ignore[arg-type]  # of that kind
        yield opened
