"""TFLite files layer by layer."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgekit_converters import tflite_file
from edgekit_converters.deadline import in_time
from edgekit_converters.errors import ModelFileError
from edgekit_converters.foreign import first_line, missing
from edgekit_converters.layers import grid, source_names
from edgekit_converters.layers.base import Runner
from edgekit_converters.layers.view import Node, Value, View
from edgekit_converters.model import Array
from edgekit_converters.tflite_file import TFLiteFile
from edgekit_converters.tflite_rewrite import cut


def view(file: TFLiteFile) -> View:
    """Return the picture of the model's own graph; its layers have the names of the model it was made from."""
    nodes = tuple(
        Node(
            name=source_names.layer(next((one.name for one in op.outputs if one is not None), op.name)),
            op=op.name,
            inputs=tuple(one.index for one in op.inputs if one is not None),
            outputs=tuple(one.index for one in op.outputs if one is not None),
            parameters=sum(one.elements for one in op.inputs if one is not None and one.is_weight),
            macs=op.macs,
        )
        for op in file.main.ops
    )
    values = tuple(
        Value(
            name=one.name or f"tensor_{one.index}",
            shape=one.shape,
            dtype=one.dtype,
            constant=one.data_bytes > 0,
            quantization=one.quantization,
        )
        for one in file.main.tensors
    )
    return View(values=values, nodes=nodes, inputs=file.main.inputs, outputs=file.main.outputs)


class TFLiteModel:
    """A TFLite file run by LiteRT as it runs by default, with XNNPACK."""

    def __init__(self, path: Path) -> None:
        """Read and check the file."""
        self._path = path
        self._data = path.read_bytes()
        file = tflite_file.parse(self._data, str(path))
        self.view = view(file)
        self.inputs: Mapping[str, int] = {name: one.index for name, one in file.public_inputs}
        self.outputs: Mapping[str, int] = {name: one.index for name, one in file.public_outputs}

    def runner(self, wanted: Sequence[int], given: Sequence[int] = ()) -> Runner:
        """Prepare runs, as the port says: the file is written anew with the values wanted as its outputs."""
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as exc:
            raise missing("ai-edge-litert", "tflite") from exc
        data, places = cut(self._data, outputs=wanted, inputs=given)
        try:
            interpreter = Interpreter(model_content=data, num_threads=1)
            interpreter.allocate_tensors()
            shapes = {one["index"]: tuple(one["shape"].tolist()) for one in interpreter.get_input_details()}
        except (ValueError, RuntimeError) as exc:
            raise ModelFileError(f"LiteRT cannot load '{self._path}': {first_line(exc)}") from exc
        values = self.view.values

        def given_and_taken(feeds: Mapping[int, Array]) -> list[Array]:
            # a value given in the middle has a tensor of its own; the model's inputs are where they were
            stored = {places.get(at, at): grid.to_stored(array, values[at]) for at, array in feeds.items()}
            stale = {at: array.shape for at, array in stored.items() if shapes[at] != array.shape}
            for at, shape in stale.items():
                interpreter.resize_tensor_input(at, shape)
            if stale:
                shapes.update(stale)
                interpreter.allocate_tensors()
            for at, array in stored.items():
                interpreter.set_tensor(at, array)
            interpreter.invoke()
            return [grid.to_real(interpreter.get_tensor(at), values[at]) for at in wanted]

        def run(feeds: Mapping[int, Array]) -> list[Array]:
            try:
                return in_time(lambda: given_and_taken(feeds))
            except (ValueError, RuntimeError) as exc:
                raise ModelFileError(f"LiteRT cannot run '{self._path}': {first_line(exc)}") from exc

        return run
