"""Will an artifact run on a runtime: what was probed, what rules say, and a real load."""
