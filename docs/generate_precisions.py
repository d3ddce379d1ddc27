"""Write docs/reference/precisions.md from the backends' tables: `make docs`."""

from pathlib import Path

from edgekit_converters.backends.precision_page import page

Path(__file__).with_name("reference").joinpath("precisions.md").write_text(page())
