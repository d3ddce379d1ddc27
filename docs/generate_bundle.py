"""Write docs/reference/bundle.schema.json, the JSON Schema of a bundle's manifest, from its class: `make docs`."""

import json
from pathlib import Path
from typing import Any

from edgekit_agent.bundle import SCHEMA, Manifest


def document() -> dict[str, Any]:
    """Return the schema; what it cannot say (sums, references between fields) is in docs/guide/bundles.md."""
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:edgekit:bundle:{SCHEMA}",
        **Manifest.json_schema(),
    }
    schema["properties"]["schema"] = {**schema["properties"]["schema"], "const": SCHEMA}
    return schema


if __name__ == "__main__":
    Path(__file__).with_name("reference").joinpath("bundle.schema.json").write_text(
        json.dumps(document(), indent=1) + "\n"
    )
