"""Whether a model runs where it was meant to; runtimes go on elsewhere without a word. No I/O."""

from collections.abc import Sequence
from pathlib import PurePath

_CPU = "CPU"


def fell_back(*, device: str, delegate: str | None, executed_on: Sequence[str]) -> tuple[str, ...]:
    """Return what was asked for and executes nothing.

    Args:
        device: as asked for. What combines devices (`HETERO:NPU,CPU`, `MULTI:…`) asks for all of them; `AUTO:GPU,CPU`
            asks for the first, and plain `AUTO` for none. The CPU is never missed.
        delegate: the path or name of a delegate, which goes by its file's name.
        executed_on: where it really executes.
    """
    kind, _, rest = device.partition(":")
    if rest:
        devices = [one.partition("(")[0] for one in rest.split(",") if one and not one.startswith("-")]
        asked = devices[:1] if kind == "AUTO" else devices
    else:
        asked = [] if kind == "AUTO" else [kind]
    wanted = [*asked, *([] if delegate is None else [PurePath(delegate).name])]
    return tuple(one for one in wanted if one != _CPU and not any(_is(one, there) for there in executed_on))


def _is(asked: str, there: str) -> bool:
    """Say whether a device is the one asked for, or one of its kind: `GPU` is answered by `GPU.0`."""
    return asked.lower() in {there.lower(), there.partition(".")[0].lower()} or asked == there
