"""Listen to a fleet of devices over MQTT, or ask the service that stores what they report (`FleetServer`).

```python
from edgekit.fleet import FleetClient

with FleetClient("mqtt://127.0.0.1:1883") as client:
    for received in client.messages(timeout_s=30):
        print(received.device, received.message)
```
"""

from edgekit.fleet._client import FleetClient
from edgekit.fleet._fleet import Device, Fleet, ModelRow, Received, quantiles_ms
from edgekit.fleet.remote import FleetServer

__all__ = ["Device", "Fleet", "FleetClient", "FleetServer", "ModelRow", "Received", "quantiles_ms"]
