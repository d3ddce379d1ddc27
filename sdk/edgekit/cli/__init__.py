"""The `edgekit` command: a thin layer over the Python API."""
