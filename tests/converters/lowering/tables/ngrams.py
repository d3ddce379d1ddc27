"""Runs of numbers counted in rows, against ONNX Runtime."""

from typing import Any

ROWS = [[1, 1, 3, 3, 3, 7], [8, 6, 7, 5, 6, 8]]


def counted(mode: str, skips: int, shortest: int, longest: int, more: str = "", **case: Any) -> dict[str, Any]:
    """Return a TfIdfVectorizer of single numbers, pairs and triples."""
    return {
        "inputs": {"x": "int64[2, 6]"},
        "feeds": {"x": ROWS},
        "body": f'y = TfIdfVectorizer<mode = "{mode}", max_skip_count = {skips}, min_gram_length = {shortest}, '
        f"max_gram_length = {longest}, ngram_counts = [0, 3, 9], ngram_indexes = [2, 0, 1, 6, 3, 5, 4], "
        f"pool_int64s = [3, 1, 8, 3, 3, 6, 8, 7, 5, 3, 3, 3]{more}>(x)",
        **case,
    }


WEIGHTS = ", weights = [0.5, 2.0, 3.0, 0.25, 1.5, 4.0, 0.75]"
CASES: dict[str, dict[str, Any]] = {
    "all lengths": counted("TF", 0, 1, 3),
    "all lengths, up to two left out": counted("TF", 2, 1, 3),
    "pairs, many left out": counted("TF", 5, 2, 2),
    "each once, weighed": counted("IDF", 1, 1, 3, WEIGHTS),
    "weighed": counted("TFIDF", 1, 1, 2, WEIGHTS),
    "weighed by nothing": counted("TFIDF", 0, 2, 3),
    "one row": counted("TF", 1, 1, 3, inputs={"x": "int32[6]"}, feeds={"x": ROWS[0]}),
    "large numbers": {
        "inputs": {"x": "int64[4]"},
        "feeds": {"x": [16777216, 16777217, 1, 16777217]},
        "body": 'y = TfIdfVectorizer<mode = "TF", max_skip_count = 0, min_gram_length = 1, max_gram_length = 1, '
        "ngram_counts = [0], ngram_indexes = [0], pool_int64s = [16777217]>(x)",
    },
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "rows of any length": (
        counted("TF", 0, 1, 3, inputs={"x": "int64[2, L]"}, feeds={}),
        "the length of its rows is free",
    ),
}
