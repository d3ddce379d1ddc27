"""The job that compiles StableHLO as another framework wrote it, and proves the result against that framework."""

from pathlib import Path

import numpy as np

from edgekit_converters import tflite_file
from edgekit_converters._exchange import read_arrays
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.foreign import missing
from edgekit_converters.jobs import Json
from edgekit_converters.lowering.module import CompilerRefusal, compile_artifact
from edgekit_converters.model import Arrays

_NOT_TFLITE = ("STABLEHLO_", "CUSTOM", "Flex")
_TOLERANCE = 1e-4  # of the largest value: float32's rounding through a deep net, far below any wrong lowering


def run(request: Json) -> Json:
    """Compile `request["module"]` to `request["tflite"]` and compare a run on `inputs` with `outputs`.

    Raises:
        UnsupportedError: if the compiler refuses it, leaves an op no runtime has, or its result is wrong.
        ConverterMissingError: if the compiler or LiteRT is not installed.
    """
    inputs, expected = read_arrays(request["inputs"]), read_arrays(request["outputs"])
    target = Path(request["tflite"])
    try:
        data = compile_artifact(Path(request["module"]).read_bytes(), list(inputs), list(expected))
    except ImportError as exc:
        raise missing("litert-converter", "tflite") from exc
    except CompilerRefusal as exc:
        raise UnsupportedError(f"the TFLite compiler refuses the function: {exc.reason}") from exc
    foreign = sorted({op.name for op in tflite_file.parse(data, target.name).ops if op.name.startswith(_NOT_TFLITE)})
    if foreign:
        raise UnsupportedError(f"the compiler left {', '.join(foreign)}, which no TFLite runtime has")
    _prove(data, inputs, expected)
    target.write_bytes(data)
    return {}


def _prove(data: bytes, inputs: Arrays, expected: Arrays) -> None:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as exc:
        raise missing("ai-edge-litert", "tflite") from exc
    interpreter = Interpreter(model_content=data, num_threads=1)
    made = interpreter.get_signature_runner("serving_default")(**inputs)
    for name, right in expected.items():
        wrong = np.abs(made[name].astype(np.float64) - right.astype(np.float64)).max(initial=0)
        if not wrong <= _TOLERANCE * max(1.0, float(np.abs(right.astype(np.float64)).max(initial=0))):
            raise UnsupportedError(f"the compiled function is wrong: output '{name}' differs by {wrong:.3g} from JAX")
