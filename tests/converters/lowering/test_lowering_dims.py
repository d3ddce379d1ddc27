"""Free sizes: integers that remember what they are in every run."""

import copy
import math

import pytest

from edgekit_converters.lowering.dims import Dim, broadcast, is_free, samples_of, size_of

BATCH = Dim((2, 3))


@pytest.mark.parametrize(
    ("made", "samples"),
    [
        (BATCH + 1, (3, 4)),
        (1 + BATCH, (3, 4)),
        (BATCH - 1, (1, 2)),
        (10 - BATCH, (8, 7)),
        (BATCH * 4, (8, 12)),
        (4 * BATCH, (8, 12)),
        (BATCH * BATCH, (4, 9)),
        (7 // BATCH, (3, 2)),
        (-BATCH, (-2, -3)),
        (math.prod([5, BATCH, 2]), (20, 30)),
        (sum([BATCH, BATCH]), (4, 6)),
    ],
)
def test_arithmetic_keeps_every_run(made: int, samples: tuple[int, ...]) -> None:
    assert is_free(made)
    assert samples_of(made, 2) == samples
    assert made == samples[0]


def test_what_is_the_same_in_every_run_is_a_plain_number() -> None:
    assert not is_free(BATCH // 2)
    assert not is_free(size_of((4, 4)))
    assert is_free(size_of((4, 4), "of the data"))


def test_copies_remember() -> None:
    assert copy.deepcopy(BATCH).key == BATCH.key


def test_shapes_broadcast_with_their_free_sizes() -> None:
    shape = broadcast((BATCH, 1, 4), (5, 4), (1,))
    assert shape == (2, 5, 4)
    assert [is_free(size) for size in shape] == [True, False, False]


def test_shapes_that_do_not_broadcast_are_refused() -> None:
    with pytest.raises(ValueError, match="do not broadcast"):
        broadcast((2, 3), (4,))
