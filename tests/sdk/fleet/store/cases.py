"""What the tests of the store share."""

NOW_MS = 1_800_000_000_000
