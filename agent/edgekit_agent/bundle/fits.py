"""Whether a bundle is for this device: its hardware, and a runtime that is here in a version it was made for."""

from collections.abc import Collection, Sequence

from edgekit_agent import runtimes
from edgekit_agent.bundle.manifest import Manifest, RuntimeRange
from edgekit_agent.bundle.versions import within
from edgekit_agent.errors import BundleUnfitError, RuntimeMissingError


def check_hardware(manifest: Manifest, own: Collection[str]) -> None:
    """Refuse a bundle for other hardware.

    Args:
        manifest: of the bundle; it is for any hardware where it names none.
        own: what this device calls itself, such as `raspberry-pi-4`.

    Raises:
        BundleUnfitError: naming both.
    """
    if manifest.hardware and not set(manifest.hardware) & set(own):
        wanted, here = ", ".join(manifest.hardware), ", ".join(own) or "of no name"
        raise BundleUnfitError(f"bundle {manifest} is for hardware {wanted}, and this device is {here}")


def choose_runtime(wanted: Sequence[RuntimeRange], what: str) -> RuntimeRange:
    """Return the first of the runtimes a bundle names that is installed here in a version of its range.

    Args:
        wanted: the manifest's `runtimes`.
        what: how errors call the bundle.

    Raises:
        BundleUnfitError: if those that are here have other versions, or none of the names is known.
        RuntimeMissingError: if none is here; notes say what to install.
    """
    known = [one for one in wanted if one.name in runtimes.RUNTIMES]
    if not known:
        names = ", ".join(one.name for one in wanted)
        raise BundleUnfitError(f"bundle {what} needs a runtime that this agent does not know: {names}")
    states = [(one, runtimes.get(one.name).available()) for one in known]
    there = [(one, state) for one, state in states if state.ok]
    for one, state in there:
        if within(state.version, one.versions):
            return one
    if there:
        found = "; ".join(f"{one.name} {state.version} is here and {one.versions} is needed" for one, state in there)
        raise BundleUnfitError(f"bundle {what} is for other versions: {found}")
    error = RuntimeMissingError(f"bundle {what} cannot be run here: {states[0][1].reason}")
    for _, state in states:
        error.add_note(state.hint)
    raise error
