"""What slides over images: kernels of convolutions and pools."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """A window over spatial axes; `pads` are (before, behind) an axis."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]

    @property
    def extent(self) -> tuple[int, ...]:
        """How far the kernel reaches along each axis, its dilations counted."""
        return tuple((size - 1) * step + 1 for size, step in zip(self.kernel, self.dilations, strict=True))

    def unseen(self, sizes: Sequence[int]) -> list[int]:
        """Return how many elements behind every axis of padded images of those sizes it does not come to."""
        whole = [size + sum(pad) for size, pad in zip(sizes, self.pads, strict=True)]
        return [(size - reach) % step for size, reach, step in zip(whole, self.extent, self.strides, strict=True)]

    def flat(self) -> "Window":
        """Return a window over one axis as one over two, of which the first has size 1."""
        return Window((1, *self.kernel), (1, *self.strides), (1, *self.dilations), ((0, 0), *self.pads))

    def first_of_two(self) -> "Window":
        """Return the window over the first axis as one over two, of which the second has size 1."""
        return Window((self.kernel[0], 1), (self.strides[0], 1), (self.dilations[0], 1), (self.pads[0], (0, 0)))

    def behind_first(self) -> "Window":
        """Return the window over all axes but the first."""
        return Window(self.kernel[1:], self.strides[1:], self.dilations[1:], self.pads[1:])
