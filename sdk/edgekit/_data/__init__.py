"""A user's data: load it in any of its forms, and check that it can be what the model expects."""

from edgekit._data.dataset import LABEL_PREFIX, LABELS, DataSet
from edgekit._data.loading import load

__all__ = ["LABELS", "LABEL_PREFIX", "DataSet", "load"]
