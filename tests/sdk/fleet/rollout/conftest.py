"""A fleet in a store."""

import pytest

from edgekit.fleet.store import DeviceKey, Store
from edgekit.fleet.wire import decode
from edgekit_agent.protocol import Info, InstalledModel, Kind, State


@pytest.fixture
def store(store: Store) -> Store:
    """A store with four devices that serve version 1.2.0 of a model."""
    model = InstalledModel(name="kws", version="1.2.0", artifact="a", format="tflite")
    info = Info(agent="0.1.0", hardware={}, runtimes={}, models=(model,)).to_bytes()
    state = State(state="online", birth=1, boot="b").to_bytes()
    for number in range(4):
        key = DeviceKey("lab", f"dev-{number}")
        store.devices.put_state(key, decode(Kind.STATE, state), 1)  # type: ignore[arg-type]  # of that kind
        store.devices.put_info(key, decode(Kind.INFO, info), info, 1)  # type: ignore[arg-type]  # of that kind
    return store
