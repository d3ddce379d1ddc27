"""Signed repositories of bundles (TUF): static files that any web server, or a USB stick, brings to devices.

```python
from pathlib import Path
from edgekit.repo import KeyFolder, NewRelease, add, init, publish

keys = KeyFolder(Path("keys"), lambda role: passphrase)
init(Path("repository"), keys)
add(Path("repository"), Path("kws.ekb"), keys, NewRelease.of(Path("kws.ekb")))
publish(Path("repository"), keys)
```
"""

from edgekit.repo._adding import Added, NewRelease, add
from edgekit.repo._creating import init
from edgekit.repo._keys import ROLES, KeyFolder, Passphrase
from edgekit.repo._metadata import Validity
from edgekit.repo._publishing import Published, publish
from edgekit.repo._rotating import Change, Rotated, renew, rotate
from edgekit.repo._serving import RepositoryHandler, serving

__all__ = [
    "ROLES",
    "Added",
    "Change",
    "KeyFolder",
    "NewRelease",
    "Passphrase",
    "Published",
    "RepositoryHandler",
    "Rotated",
    "Validity",
    "add",
    "init",
    "publish",
    "renew",
    "rotate",
    "serving",
]
