"""A plain FastAPI application around a TFLite interpreter, as one writes it: `python serving_fastapi.py MODEL PORT`."""

import sys
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, Request, Response

app = FastAPI()


class Model:
    """The interpreter, its input and its output."""

    def __init__(self, path: str) -> None:
        """Load it."""
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(model_path=path, num_threads=1)
        self.interpreter.allocate_tensors()
        (self.input,), (self.output,) = self.interpreter.get_input_details(), self.interpreter.get_output_details()

    def run(self, array: Any) -> Any:
        """Run it once."""
        self.interpreter.set_tensor(self.input["index"], array.reshape(self.input["shape"]))
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.output["index"])


@app.post("/binary")
async def binary(request: Request) -> Response:
    """Take and give the tensors' bytes."""
    answer = app.state.model.run(np.frombuffer(await request.body(), app.state.model.input["dtype"]))
    return Response(answer.tobytes(), media_type="application/octet-stream")


@app.post("/json")
async def as_json(request: Request) -> dict[str, Any]:
    """Take and give lists of numbers."""
    array = np.asarray((await request.json())["data"], app.state.model.input["dtype"])
    return {"data": app.state.model.run(array).ravel().tolist()}


if __name__ == "__main__":
    app.state.model = Model(sys.argv[1])
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error", access_log=False)
