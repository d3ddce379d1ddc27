"""Write docs/reference/openapi.json: the API of the fleet service, from its routes.

`python docs/generate_openapi.py [FILE]`; the file is the same bytes each time.
"""

import json
import sys
import tempfile
from pathlib import Path

from edgekit.fleet.api import create_app
from edgekit.fleet.store import open_store


def document() -> str:
    """Return the OpenAPI document's text."""
    with tempfile.TemporaryDirectory() as folder, open_store(f"sqlite:///{folder}/fleet.db") as store:
        return json.dumps(create_app(store).openapi(), indent=1, sort_keys=True) + "\n"


def main() -> None:
    """Write the file."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "reference" / "openapi.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(document())
    print(file)


if __name__ == "__main__":
    main()
