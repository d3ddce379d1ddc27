"""How much the error of a weight counts: the power of what it is multiplied with on calibration data, H's diagonal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress import matrices
from edgekit_converters.compress.base import Setting
from edgekit_converters.compress.moments import rows_of
from edgekit_converters.graph.reading import name_of
from edgekit_converters.graph.weights import Reals, Weights

if TYPE_CHECKING:
    import onnx_ir as ir

_LEAST = 1e-3  # of the mean: no weight is worth nothing


def importance_of(model: "ir.Model", layers: Sequence[Weights], setting: Setting) -> dict[int, Reals]:
    """Return arrays like the weights by the identity of their values, for layers of the main graph that have an H.

    Raises:
        CalibrationError: if the model stops on the calibration data.
    """
    known = [one for one in layers if not matrices.why_not(one) and one.node.graph is model.graph]
    powers: dict[str, Reals] = {}
    arrays, file = setting.calibration or {}, setting.work / "rows.onnx"
    for name, rows in rows_of(model, known, arrays, file, setting.seed):
        more = np.stack([(one**2).sum(axis=0) for one in rows])
        powers[name] = powers.get(name, np.zeros_like(more)) + more
    found = {}
    for one in known:
        form = matrices.matrices_of(one)
        power = powers[name_of(one.node)][:, None, form.order]
        whole = form.array(np.broadcast_to(power, form.values.shape))
        mean = float(whole.mean())
        if mean > 0:
            found[id(one.value)] = whole + _LEAST * mean
    return found
