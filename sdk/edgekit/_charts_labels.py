"""Words in charts: how wide they are, where they fit, and how names are shortened."""

from collections.abc import Sequence
from dataclasses import dataclass

from edgekit._charts import Scale, tick_texts

FONT = 12.0
"""Size of a chart's text, in pixels."""

_AIR = 3.0  # between two labels, and between a label and its point
_NARROW, _WIDE = set("iljtfr.,:;|!'() "), set("mwMW@%")


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels: left, top, width, height."""

    x: float
    y: float
    width: float
    height: float

    def overlap(self, other: "Box") -> float:
        """Return the area both cover."""
        wide = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        high = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return max(0.0, wide) * max(0.0, high)

    def inside(self, other: "Box") -> bool:
        """Return whether it lies within another."""
        across = other.x <= self.x and self.x + self.width <= other.x + other.width
        return across and other.y <= self.y and self.y + self.height <= other.y + other.height


def text_width(text: str, size: float = FONT) -> float:
    """Return about how wide a text is in a sans-serif face, in pixels; rather too wide than too narrow."""
    ems = sum(0.34 if letter in _NARROW else 0.92 if letter in _WIDE else 0.61 for letter in text)
    return ems * size


def shorten(text: str, length: int) -> str:
    """Return a text of at most `length` letters, the middle left out: both ends of a layer's name tell it apart."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail]}…{text[len(text) - tail :]}"


def written_ticks(scale: Scale, count: int, pixels: float) -> list[tuple[float, str]]:
    """Return at most about `count` ticks and their texts, fewer where these would touch on an axis of that length."""
    for fewer in range(count, 0, -1):
        ticks = scale.ticks(fewer)
        texts = tick_texts(ticks)
        if sum(text_width(text) + 2 * _AIR for text in texts) <= pixels or fewer == 1:
            break
    return list(zip(ticks, texts, strict=True))


def place_labels(
    points: Sequence[tuple[float, float, float]], texts: Sequence[str], area: Box, words: Sequence[Box] = ()
) -> list[Box | None]:
    """Return where each text goes so that it covers no point and no other text; None where nothing is free.

    Args:
        points: (x, y, radius) in pixels, the most important first: they choose first.
        texts: what to write beside each.
        area: what labels stay within.
        words: what is written there already.
    """
    taken = [*words, *(Box(x - radius, y - radius, 2 * radius, 2 * radius) for x, y, radius in points)]
    places: list[Box | None] = []
    for (x, y, radius), text in zip(points, texts, strict=True):
        size = (text_width(text) + 2 * _AIR, FONT * 1.25)
        free = (
            box
            for box in _around(x, y, radius, size)
            if box.inside(area) and not any(box.overlap(other) for other in taken)
        )
        box = next(free, None)
        places.append(box)
        if box is not None:
            taken.append(box)
    return places


def _around(x: float, y: float, radius: float, size: tuple[float, float]) -> list[Box]:
    """Return the places beside a point, the best first, then those further off."""
    wide, high = size
    found = []
    for gap in (1.0, 12.0, 24.0, 40.0, 60.0):
        off = radius + gap
        right, left, middle = x + off, x - off - wide, x - wide / 2
        above, below, level = y - off - high, y + off, y - high / 2
        corners = [(right, level), (left, level), (middle, above), (middle, below)]
        corners += [(x + radius, above), (x + radius, below), (x - radius - wide, above), (x - radius - wide, below)]
        found += [Box(at_x, at_y, wide, high) for at_x, at_y in corners]
    return found
