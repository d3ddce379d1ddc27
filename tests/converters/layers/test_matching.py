"""Values of two models find each other by name, by what they were fused from, and by their numbers."""

import numpy as np
import pytest

from edgekit_converters.layers.matching import Match, Named, Turn, match


def _pairs(found: list[Match]) -> list[tuple[int, int]]:
    return [(one.first, one.second) for one in found]


def test_the_same_name_wins_over_likeness(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(2, 8)), rng.normal(size=(2, 8))
    first = [Named(place=0, name="a", array=a), Named(place=1, name="b", array=b)]
    second = [Named(place=5, name="b", array=a), Named(place=6, name="a", array=b)]
    assert _pairs(match(first, second)) == [(0, 6), (1, 5)]


def test_a_fused_value_is_the_last_of_those_its_name_mentions(rng: np.random.Generator) -> None:
    array = rng.normal(size=(1, 16))
    first = [Named(place=at, name=name, array=array + at) for at, name in enumerate(("245", "246", "247"))]
    assert _pairs(match(first, [Named(place=9, name="247;246;245;;1", array=array)])) == [(2, 9)]


@pytest.mark.parametrize("axes", [(0, 3, 1, 2), (0, 2, 3, 1)])
def test_another_layout_is_turned_back(rng: np.random.Generator, axes: tuple[int, ...]) -> None:
    wanted = rng.normal(size=(2, 4, 6, 8)).astype(np.float32)
    array = wanted.transpose(np.argsort(axes))
    found = match([Named(place=0, name="x", array=wanted)], [Named(place=0, name="x", array=array)])
    assert found[0].turn == Turn(axes=axes)
    np.testing.assert_array_equal(found[0].turn.forward(array, wanted), wanted)


def test_a_square_image_is_turned_by_its_numbers(rng: np.random.Generator) -> None:
    wanted = rng.normal(size=(2, 5, 5, 5)).astype(np.float32)
    found = match(
        [Named(place=0, name="x", array=wanted)], [Named(place=0, name="x", array=wanted.transpose(0, 2, 3, 1))]
    )
    assert found[0].turn == Turn(axes=(0, 3, 1, 2))


def test_values_without_common_names_are_told_by_their_numbers(rng: np.random.Generator) -> None:
    arrays = [rng.normal(size=(4, 32)) for _ in range(3)]
    noise = [array + 0.05 * rng.normal(size=array.shape) for array in arrays]
    first = [Named(place=at, name=f"left{at}x", array=array) for at, array in enumerate(arrays)]
    second = [Named(place=at, name=f"right{at}y", array=noise[at]) for at in (2, 0, 1)]
    assert _pairs(match(first, second)) == [(0, 0), (1, 1), (2, 2)]


def test_what_is_not_alike_stays_alone(rng: np.random.Generator) -> None:
    first = [Named(place=0, name="a", array=rng.normal(size=(4, 32)))]
    assert match(first, [Named(place=0, name="b", array=rng.normal(size=(4, 32)))]) == []
    assert match(first, [Named(place=0, name="a", array=rng.normal(size=(4, 33)))]) == []


def test_a_shifted_copy_is_less_alike_than_a_noisy_one(rng: np.random.Generator) -> None:
    """What a convolution gives before its bias rises and falls with what it gives after it."""
    wanted = rng.normal(size=(4, 32))
    second = [
        Named(place=0, name="before", array=wanted - 0.7),
        Named(place=1, name="after", array=wanted + 0.1 * rng.normal(size=wanted.shape)),
    ]
    assert _pairs(match([Named(place=7, name="layer", array=wanted)], second)) == [(7, 1)]


def test_known_partners_stay_together_whatever_their_names(rng: np.random.Generator) -> None:
    array = rng.normal(size=(4, 3))
    found = match([Named(place=1, name="a", array=array)], [Named(place=2, name="b", array=-array)], [(1, 2)])
    assert _pairs(found) == [(1, 2)]
