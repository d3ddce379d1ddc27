"""A model layer by layer, whatever its format: what it holds, what memory it takes, how two models differ."""
