"""A model for MLServer around a TFLite interpreter, and a client of its gRPC service: `... client PORT`.

The client reads a number of requests a line and answers with their times in seconds, as JSON.
"""

import json
import sys
import time
from typing import Any

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class TFLiteModel(MLModel):  # type: ignore[misc]  # MLServer is not in the environment that checks
    """What `model-settings.json` names."""

    async def load(self) -> bool:
        """Load it."""
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_path=self.settings.parameters.uri, num_threads=1)
        self._interpreter.allocate_tensors()
        (self._input,), (self._output,) = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Run it once."""
        self._interpreter.set_tensor(self._input["index"], NumpyCodec.decode_input(payload.inputs[0]))
        self._interpreter.invoke()
        answer = NumpyCodec.encode_output("scores", self._interpreter.get_tensor(self._output["index"]))
        return InferenceResponse(model_name=self.name, outputs=[answer])


def ask(port: str) -> None:
    """Ask as often as is said on stdin, over gRPC with the tensor's bytes."""
    import grpc
    from mlserver.grpc import dataplane_pb2 as messages
    from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub

    channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.max_send_message_length", 1 << 26)])
    stub = GRPCInferenceServiceStub(channel)
    array = np.random.default_rng(0).integers(-128, 127, (1, 224, 224, 3), np.int8)
    tensor = messages.ModelInferRequest.InferInputTensor(name="image", datatype="INT8", shape=array.shape)
    for line in sys.stdin:
        taken: list[Any] = []
        for _ in range(int(line)):
            start = time.perf_counter()
            request = messages.ModelInferRequest(model_name="m", inputs=[tensor], raw_input_contents=[array.tobytes()])
            stub.ModelInfer(request)
            taken.append(time.perf_counter() - start)
        sys.stdout.write(json.dumps(taken) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    ask(sys.argv[2])
