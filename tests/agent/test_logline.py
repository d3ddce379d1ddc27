"""Log lines that a person and a program can read."""

import pytest

from edgekit_agent.logline import logline


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("SIGSEGV", "SIGSEGV"),
        ("two words", '"two words"'),
        ('say "so"', r'"say \"so\""'),
        ("a=b", '"a=b"'),
        ("", '""'),
        ("two\nlines", r'"two\nlines"'),
        ("\x1b[2J", r'"\u001b[2J"'),
        (3.5, "3.5"),
        (["a b", "c"], '["a b", "c"]'),
    ],
    ids=["word", "words", "quotes", "equals", "empty", "lines", "terminal codes", "number", "list"],
)
def test_a_value_stays_one_word_of_one_line(value: object, word: str) -> None:
    assert logline({"event": "x", "key": value}) == f"event=x key={word}"
