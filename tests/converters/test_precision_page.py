"""The page of precisions says what the tables say."""

from pathlib import Path

from edgekit_converters.backends.precision_page import page


def test_the_page_is_what_the_tables_say(repository: Path) -> None:
    assert (repository / "docs" / "reference" / "precisions.md").read_text() == page()
