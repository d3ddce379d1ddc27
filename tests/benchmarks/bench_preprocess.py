"""Print what preparing a photo costs, and what OpenCV would take for its parts and give instead.

`python -m tests.benchmarks.bench_preprocess [ROUNDS]`. A JPEG of 1280x720 becomes a 224x224 input, float or int8.
Milliseconds are the least of the rounds; differences are the largest, in levels of a pixel (0 to 255).
"""

import sys
import time
from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image

from edgekit_agent.preprocess import Preprocess
from edgekit_agent.runtimes.base import TensorSpec
from edgekit_agent.sources.pictures import Pictures
from edgekit_agent.sources.wanted import Wanted

ROUNDS = 30
SIDE = 224
HOW = Preprocess(resize=(SIDE, SIDE), mean=127, std=128)
SPECS = {
    "float32": TensorSpec(name="x", shape=(1, SIDE, SIDE, 3), dtype="float32"),
    "int8": TensorSpec(name="x", shape=(1, SIDE, SIDE, 3), dtype="int8", scale=(1 / 128,), zero_point=(-1,)),
}


def photo() -> bytes:
    """Return a picture with large and small things in it."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (18, 32, 3), dtype=np.uint8)).resize((1280, 720))
    noisy = np.asarray(coarse, np.int16) + rng.integers(-12, 13, (720, 1280, 3))
    content = BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(content, "JPEG", quality=90)
    return content.getvalue()


def least_ms(act: Callable[[], object], rounds: int) -> float:
    """Return the least time of an act."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        act()
        taken.append(time.perf_counter() - start)
    return 1000 * min(taken)


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    data = photo()
    picture = Image.open(BytesIO(data))
    small = picture.resize((SIDE, SIDE))
    for name, spec in SPECS.items():
        pictures = Pictures(Wanted(inputs=(spec,), preprocess=HOW), "the photo")
        whole = least_ms(lambda pictures=pictures: pictures.prepare(data, "the photo"), rounds)  # type: ignore[misc]  # bound now
        values = least_ms(lambda pictures=pictures: pictures.prepare(small, "the photo"), rounds)  # type: ignore[misc]  # so too
        print(f"{name}: {whole:.2f} ms, {values:.2f} of them for the values")
    with_opencv(data, rounds)


def with_opencv(data: bytes, rounds: int) -> None:
    """Print decoding and resizing beside OpenCV's."""
    try:
        import cv2
    except ImportError:
        print("OpenCV is not here: make setup-frameworks")
        return
    cv2.setNumThreads(1)
    coded = np.frombuffer(data, np.uint8)
    picture = Image.open(BytesIO(data)).convert("RGB")
    pixels = np.asarray(picture)
    theirs = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))[..., ::-1]
    decoding = least_ms(lambda: Image.open(BytesIO(data)).load(), rounds)
    other = least_ms(lambda: cv2.imdecode(coded, cv2.IMREAD_COLOR), rounds)
    differ = np.abs(pixels.astype(int) - theirs).max()
    print(f"decoding: Pillow {decoding:.2f} ms, OpenCV {other:.2f} ms, differ by {differ}")
    plain = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR)).astype(int)
    resizing = least_ms(lambda: picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR), rounds)
    print(f"resizing: Pillow {resizing:.2f} ms")
    for name in ("INTER_LINEAR", "INTER_AREA"):
        how = getattr(cv2, name)
        differ = np.abs(plain - cv2.resize(pixels, (SIDE, SIDE), interpolation=how)).max()
        taken = least_ms(lambda how=how: cv2.resize(pixels, (SIDE, SIDE), interpolation=how), rounds)  # type: ignore[misc]  # so too
        print(f"resizing: OpenCV {name} {taken:.2f} ms, differs by {differ}")


if __name__ == "__main__":
    main()
