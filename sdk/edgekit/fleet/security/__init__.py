"""Certificates of a fleet, the broker's configuration and access rules made of them, and a check by round trip.

```python
from edgekit.fleet.security import Pki

pki = Pki.create(Path("pki"), passphrase=lambda _role: b"...", names=["broker.example"])
pki.enroll("pi-7")
pki.revoke("pi-7")
```
"""

from edgekit.fleet.security.authority import Issued, Pki
from edgekit.fleet.security.records import Record
from edgekit.fleet.security.roles import Role, common_name
from edgekit.fleet.security.secret_files import read_secret

__all__ = ["Issued", "Pki", "Record", "Role", "common_name", "read_secret"]
