"""Where the boxes of a drawn graph stand."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgekit._graph_layout import layout


def _random_edges(rng: np.random.Generator, count: int) -> list[tuple[int, int]]:
    return [(int(rng.integers(max(0, end - 20), end)), end) for end in range(1, count) for _ in range(2)]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    count = draw(st.integers(1, 12))
    pairs = [(start, end) for end in range(count) for start in range(end)]
    return count, draw(st.lists(st.sampled_from(pairs), max_size=20)) if pairs else []


@given(graphs())
def test_boxes_never_overlap_and_edges_go_down(graph: tuple[int, list[tuple[int, int]]]) -> None:
    count, edges = graph
    placed = layout(count, edges)
    spots = [(placed.row[one], placed.x[one]) for one in range(count)]
    for at, (row, x) in enumerate(spots):
        assert 0 <= x <= placed.width - 1 + 1e-9
        assert 0 <= row < placed.rows
        assert all(other_row != row or abs(other - x) >= 1 - 1e-9 for other_row, other in spots[:at])
    for (start, end), path in zip(edges, placed.edges, strict=True):
        rows = [row for _, row in path]
        assert rows == list(range(placed.row[start], placed.row[end] + 1))
        assert (path[0], path[-1]) == ((placed.x[start], placed.row[start]), (placed.x[end], placed.row[end]))


def test_a_chain_is_straight() -> None:
    made = layout(5, [(at, at + 1) for at in range(4)])
    assert len(set(made.x)) == 1
    assert made.row == (0, 1, 2, 3, 4)


def test_a_side_branch_passes_beside_the_boxes_it_skips() -> None:
    made = layout(4, [(0, 1), (1, 2), (2, 3), (0, 3)])
    bends = made.edges[3][1:-1]
    assert len(bends) == 2
    assert all(abs(x - made.x[row]) > 0.5 for x, row in bends)


def test_nothing_is_drawn_of_nothing() -> None:
    made = layout(0, [])
    assert (made.x, made.edges, made.rows) == ((), (), 0)


def test_two_thousand_boxes_all_have_a_place(rng: np.random.Generator) -> None:
    made = layout(2000, _random_edges(rng, 2000))
    assert len(made.x) == 2000
    assert len(set(zip(made.x, made.row, strict=True))) == 2000
