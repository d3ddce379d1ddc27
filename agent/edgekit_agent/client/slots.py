"""The memory of a client: a place for each request that is on the way."""

from edgekit_agent.runtimes.base import Array
from edgekit_agent.serve.memory import Memory, Views
from edgekit_agent.serve.wire import ALIGN, Hello, Shapes, free_of, offsets

_ROOM_OF_FREE = 1 << 16  # bytes for the outputs of a model whose outputs have free dimensions; more when they need it


class Slot:
    """Where one request's tensors stand."""

    __slots__ = ("inputs", "inputs_at", "outputs_at", "room", "shapes", "size")

    def __init__(self) -> None:
        """Stand nowhere yet."""
        self.inputs: list[Array] = []
        self.shapes: Shapes = ()
        self.inputs_at = self.size = self.outputs_at = self.room = 0


class Slots:
    """Places in one memory; a place that becomes too small moves to the end, which is twice as far each time."""

    def __init__(self, hello: Hello, count: int) -> None:
        """Make the memory for as many requests, with free dimensions of 1.

        Raises:
            OSError: if there is no room.
        """
        self._hello = hello
        shapes = hello.shapes([1] * len(hello.free))
        self._end = 0
        self.memory = Memory.make(ALIGN, hello.max_bytes)
        self._inputs, self._outputs = Views(self.memory, hello.inputs), Views(self.memory, hello.outputs)
        self.all = [Slot() for _ in range(count)]
        for slot in self.all:
            self.shape(slot, shapes)

    def shape(self, slot: Slot, shapes: Shapes) -> None:
        """Give a slot's inputs these shapes; where it moves, what stood there is not taken along."""
        if slot.shapes == shapes:
            return
        _, length = offsets(self._hello.inputs, shapes)
        if length > slot.size or not slot.shapes:
            slot.inputs_at, slot.size = self._take(length), length
        slot.shapes, slot.inputs = shapes, self._inputs.at(slot.inputs_at, shapes)
        self.give_room(slot, self._guess(shapes))

    def give_room(self, slot: Slot, room: int) -> None:
        """Give a slot's outputs at least so much room, in bytes."""
        if room > slot.room:
            slot.outputs_at, slot.room = self._take(room), room

    def outputs(self, slot: Slot, shapes: Shapes) -> list[Array]:
        """Return the outputs that stand in a slot, as views."""
        return self._outputs.at(slot.outputs_at, shapes)

    def _guess(self, shapes: Shapes) -> int:
        """Return how much room outputs will need: exactly, unless dimensions other than the batch are free."""
        specs = self._hello.outputs
        batch = shapes[0][0] if shapes and shapes[0] else 1
        made = tuple(tuple(batch if size == -1 else size for size in spec.shape) for spec in specs)
        room = offsets(specs, made)[1]
        return room if all(axis == 0 for _, axis in free_of(specs)) else max(room, _ROOM_OF_FREE * len(specs))

    def _take(self, length: int) -> int:
        place, end = self._end, self._end + -(-max(length, 1) // ALIGN) * ALIGN
        if end > len(self.memory.map):
            self.memory.grow(max(end, min(2 * len(self.memory.map), self._hello.max_bytes)))
        self._end = end
        return place
