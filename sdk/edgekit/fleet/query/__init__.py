"""A small language that says which devices: `label.room=lab and model=kws and version<1.3 and not state=offline`.

```python
from edgekit.fleet.query import parse

wanted = parse("site=berlin and device~pi-*")
[row for row in store.devices.all() if wanted.matches(row)] == wanted.devices(store)
```
"""

from edgekit.fleet.query.filter import Filter, parse
from edgekit.fleet.query.parser import FilterError
from edgekit.fleet.query.versions import version_key

__all__ = ["Filter", "FilterError", "parse", "version_key"]
