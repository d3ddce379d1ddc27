"""Samples between the places of an image, against ONNX Runtime: grids, regions, deformed convolutions."""

from typing import Any

GRID = {"x": "float[2, 3, 5, 6]", "g": "float[2, 4, 7, 2]"}
REGIONS = {"x": "float[2, 3, 9, 12]", "r": "float[4, 4]", "i": "int64[4]"}
CORNERS = [[1, 1, 8, 6], [0, 2, 11, 8], [-3, -2, 5, 4], [7, 3, 7.2, 15]]  # the last: thin, and beyond the edge


def grid(attributes: str, *, opset: int = 16, **more: Any) -> dict[str, Any]:
    """Return a GridSample whose grid reaches beyond the edges."""
    return {
        "inputs": GRID,
        "range": [-1.6, 1.6],
        "body": f"y = GridSample<{attributes}>(x, g)",
        "opset": opset,
        **more,
    }


def volume(attributes: str) -> dict[str, Any]:
    """Return a GridSample of volumes."""
    return grid(attributes, opset=20, inputs={"x": "float[2, 3, 4, 3, 5]", "g": "float[2, 2, 3, 4, 3]"})


def aligned(attributes: str, opset: int = 16) -> dict[str, Any]:
    """Return a RoiAlign."""
    return {
        "inputs": REGIONS,
        "feeds": {"r": CORNERS, "i": [0, 1, 1, 0]},
        "body": f"y = RoiAlign<{attributes}>(x, r, i)",
        "opset": opset,
    }


def affine(*sizes: int, corners: int) -> dict[str, Any]:
    """Return an AffineGrid of images or volumes."""
    count = len(sizes) - 2
    return {
        "inputs": {"t": f"float[{sizes[0]}, {count}, {count + 1}]"},
        "body": f"y = AffineGrid<align_corners = {corners}>(t, s)",
        "weights": {"s": {"int64": list(sizes)}},
        "opset": 20,
    }


def deformed(attributes: str, *, kernel: list[int], offsets: str, mask: str | None = None) -> dict[str, Any]:
    """Return a DeformConv whose offsets reach beyond the edges."""
    given = {"x": "float[2, 4, 7, 6]", "o": offsets, **({"m": mask} if mask else {})}
    return {
        "inputs": given,
        "range": [-2.3, 2.3],
        "body": f"y = DeformConv<{attributes}>(x, w, o, b{', m' if mask else ''})",
        "weights": {"w": kernel, "b": kernel[:1]},
        "opset": 19,
    }


CASES: dict[str, dict[str, Any]] = {
    **{
        f"grid, {mode}, {padding}, corners {corners}": grid(
            f'mode = "{mode}", padding_mode = "{padding}", align_corners = {corners}'
        )
        for mode in ("bilinear", "nearest", "bicubic")
        for padding in ("zeros", "border", "reflection")
        for corners in (0, 1)
    },
    **{
        f"grid of volumes, {mode}, {padding}, corners {corners}": volume(
            f'mode = "{mode}", padding_mode = "{padding}", align_corners = {corners}'
        )
        for mode, padding, corners in (
            ("linear", "zeros", 0),
            ("linear", "border", 1),
            ("linear", "reflection", 0),
            ("nearest", "zeros", 1),
        )
    },
    "grid, newest opset, cubic": grid('mode = "cubic"', opset=22),
    "grid far outside": grid('padding_mode = "reflection"', range=[-9, 9]),
    "grid of an image of one row": grid(
        'padding_mode = "reflection", align_corners = 1',
        inputs={"x": "float[1, 2, 1, 6]", "g": "float[1, 3, 4, 2]"},
    ),
    "grid between convolutions": {
        **grid("align_corners = 0", inputs={"x": "float[2, 3, 6, 6]", "g": "float[2, 4, 4, 2]"}),
        "body": "c = Conv(x, k)\n s = GridSample(c, g)\n y = Conv(s, l)",
        "weights": {"k": [4, 3, 3, 3], "l": [2, 4, 1, 1]},
    },
    "grid that follows from an affine one": {
        "inputs": {"x": "float[2, 3, 5, 6]", "t": "float[2, 2, 3]"},
        "range": [-1, 1],
        "body": "g = AffineGrid(t, s)\n y = GridSample(x, g)",
        "weights": {"s": {"int64": [2, 3, 4, 7]}},
        "opset": 20,
    },
    "affine grid": affine(2, 3, 4, 5, corners=0),
    "affine grid, aligned corners": affine(3, 1, 5, 2, corners=1),
    "affine grid of volumes": affine(2, 3, 2, 4, 3, corners=0),
    "affine grid of volumes, aligned corners": affine(1, 2, 3, 2, 4, corners=1),
    "regions": aligned("output_height = 3, output_width = 4, sampling_ratio = 2"),
    "regions by the edges, opset 10": aligned("output_height = 3, output_width = 4, sampling_ratio = 2", 10),
    "regions of a smaller map": aligned("output_height = 2, output_width = 2, sampling_ratio = 3, spatial_scale = 0.5"),
    "regions, one sample": aligned("output_height = 5, output_width = 5, sampling_ratio = 1"),
    "regions, the largest": aligned('output_height = 2, output_width = 3, sampling_ratio = 2, mode = "max"'),
    "regions, edges by name": aligned(
        'output_height = 2, output_width = 3, sampling_ratio = 2, coordinate_transformation_mode = "output_half_pixel"'
    ),
    "regions of a convolution": {
        **aligned("output_height = 2, output_width = 2, sampling_ratio = 2"),
        "body": "c = Conv<pads = [1, 1, 1, 1]>(x, k)\n"
        " y = RoiAlign<output_height = 2, output_width = 2, sampling_ratio = 2>(c, r, i)",
        "weights": {"k": [5, 3, 3, 3]},
    },
    "deformed": deformed("group = 1", kernel=[5, 4, 3, 3], offsets="float[2, 18, 5, 4]"),
    "deformed, strides, padding, dilations": deformed(
        "pads = [1, 2, 1, 0], strides = [2, 1], dilations = [1, 2]", kernel=[3, 4, 3, 2], offsets="float[2, 12, 4, 6]"
    ),
    "deformed with a mask": deformed(
        "group = 1", kernel=[5, 4, 2, 2], offsets="float[2, 8, 6, 5]", mask="float[2, 4, 6, 5]"
    ),
    "deformed in groups": deformed("group = 2", kernel=[6, 2, 2, 2], offsets="float[2, 8, 6, 5]"),
    "deformed by groups of offsets": deformed(
        "offset_group = 2", kernel=[5, 4, 2, 2], offsets="float[2, 16, 6, 5]", mask="float[2, 8, 6, 5]"
    ),
    "deformed before a pool": {
        **deformed("group = 1", kernel=[5, 4, 2, 2], offsets="float[2, 8, 6, 5]"),
        "body": "d = DeformConv(x, w, o, b)\n y = GlobalAveragePool(d)",
    },
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "as many samples as fit": (aligned("output_height = 2, output_width = 2"), "its sampling_ratio is 0"),
    "a grid of an image of any size": (
        grid("align_corners = 0", inputs={"x": "float[1, 2, H, W]", "g": "float[1, 3, 4, 2]"}),
        "the height or width of its image is free",
    ),
}
