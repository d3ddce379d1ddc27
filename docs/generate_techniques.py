"""Write docs/reference/techniques.md and recipe.schema.json from the table of techniques: `make docs`."""

import json
from pathlib import Path

from edgekit._recipe import schema
from edgekit_converters.compress.page import page

reference = Path(__file__).with_name("reference")
reference.joinpath("techniques.md").write_text(page())
reference.joinpath("recipe.schema.json").write_text(json.dumps(schema(), indent=1) + "\n")
