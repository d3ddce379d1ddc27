"""From pictures to the one input of a model that takes them."""

from pathlib import Path
from typing import TYPE_CHECKING

from edgekit_agent import feeds
from edgekit_agent.errors import InputDataError
from edgekit_agent.placing import picture_size
from edgekit_agent.sources.base import Prepared
from edgekit_agent.sources.wanted import Wanted

if TYPE_CHECKING:
    from PIL.Image import Image

_RANK = 4


class Pictures:
    """Makes inputs of pictures, by the very code that evaluations on the host use."""

    def __init__(self, wanted: Wanted, what: str) -> None:
        """Check that the model takes one image; `what` is how errors call the source.

        Raises:
            InputDataError: if it does not.
        """
        if len(wanted.inputs) != 1 or len(wanted.inputs[0].shape) != _RANK:
            raise InputDataError(f"{what} holds images and the model does not take one image [N, H, W, C]")
        self._spec, self._how = wanted.inputs[0], wanted.preprocess
        self._size = picture_size(self._spec.shape, self._how.layout)

    def prepare(self, picture: "Path | bytes | Image", what: str) -> Prepared:
        """Decode, resize, crop, normalise and store one picture.

        Raises:
            InputDataError: if it is broken or does not fit.
            RuntimeMissingError: if Pillow is not installed.
        """
        values, placement = self._how.image_and_place(picture, self._size)
        return Prepared([feeds.fit(values[None], self._spec, what)], placement)
