"""Listen to a fleet of devices over MQTT.

```python
from edgekit.fleet import FleetClient

with FleetClient("mqtt://127.0.0.1:1883") as client:
    for received in client.messages(timeout_s=30):
        print(received.device, received.message)
```
"""

from edgekit.fleet._client import FleetClient
from edgekit.fleet._fleet import Device, Fleet, ModelRow, Received, quantiles_ms

__all__ = ["Device", "Fleet", "FleetClient", "ModelRow", "Received", "quantiles_ms"]
