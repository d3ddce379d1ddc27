"""Free sizes as the file computes them at run time: read off tensors that have them."""

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.lowering.dims import Dim, Samples, is_free, samples_of
from edgekit_converters.lowering.module import Module, Ref
from edgekit_converters.model import Array

_Key = tuple[Samples, str]


class RuntimeSizes:
    """Knows which tensor has which free size."""

    def __init__(self, module: Module) -> None:
        """Start with nothing known."""
        self._module = module
        self._sources: dict[_Key, tuple[Ref, int]] = {}
        self._shapes: dict[str, Ref] = {}
        self._sizes: dict[_Key, Ref] = {}

    def learn(self, ref: Ref) -> None:
        """Note the free sizes of a tensor; what is noted first is used."""
        for axis, size in enumerate(ref.shape):
            if isinstance(size, Dim):
                self._sources.setdefault(size.key, (ref, axis))

    def array(self, sizes: Array, dtype: str) -> Ref:
        """Return sizes (an object array) as a tensor of this shape and dtype (int32 or int64).

        Raises:
            UnsupportedError: if no tensor has one of them.
        """
        flat = sizes.ravel().tolist()
        parts: list[Ref] = []
        place = 0
        while place < len(flat):
            if is_free(flat[place]):
                parts.append(self._size(flat[place]))
                place += 1
                continue
            end = place
            while end < len(flat) and not is_free(flat[end]):
                end += 1
            parts.append(self._module.ints(flat[place:end]))
            place = end
        ref = parts[0]
        if len(parts) > 1:
            attributes = 'axis = 0 : i32, fused_activation_function = "NONE"'
            ref = self._module.op("concatenation", parts, attributes, [len(flat)], "int32")
        if dtype != "int32":
            ref = self._module.op("cast", [ref], "", ref.shape, dtype)
        if sizes.shape != ref.shape:
            ref = self._module.op("reshape", [ref, self._module.ints(list(sizes.shape))], "", sizes.shape, dtype)
        return ref

    def _size(self, size: Dim) -> Ref:
        """Return one size as an int32 tensor of shape [1]."""
        if size.key not in self._sizes:
            self._sizes[size.key] = self._read(size) or self._computed(size)
        return self._sizes[size.key]

    def _read(self, size: Dim) -> Ref | None:
        if size.key not in self._sources:
            return None
        ref, axis = self._sources[size.key]
        if ref.name not in self._shapes:
            self._shapes[ref.name] = self._module.op("shape", [ref], "", [len(ref.shape)], "int32")
        operands = [self._shapes[ref.name], self._module.ints([axis]), self._module.ints([1])]
        return self._module.op("slice", operands, "", [1], "int32")

    def _computed(self, size: Dim) -> Ref:
        """Find a size as a multiple, a part, a sum or a product of known ones."""
        runs = len(size.samples)
        known = [Dim(samples, tag) for samples, tag in self._sources if tag == size.tag]
        for one in known:
            for op, number in _relations(size, one, runs):
                return self._binary(op, self._size(one), self._module.ints([number]))
        for left in known:
            for right in known:
                factor = _ratio(size.samples, tuple(a * b for a, b in zip(left.samples, right.samples, strict=True)))
                if factor:
                    both = self._binary("mul", self._size(left), self._size(right))
                    return both if factor == 1 else self._binary("mul", both, self._module.ints([factor]))
        raise UnsupportedError(
            f"a size that is {size} in the trial run follows no free dimension in a way that is known"
        )

    def _binary(self, op: str, left: Ref, right: Ref) -> Ref:
        attributes = "" if op == "floor_div" else 'fused_activation_function = "NONE"'
        return self._module.op(op, [left, right], attributes, [1], "int32")


def _relations(size: Dim, one: Dim, runs: int) -> list[tuple[str, int]]:
    """Return how a size may come from another with one number: times, plus, or divided by it."""
    wanted, given = samples_of(size, runs), samples_of(one, runs)
    found = []
    factor = _ratio(wanted, given)
    if factor:
        found.append(("mul", factor))
    apart = {a - b for a, b in zip(wanted, given, strict=True)}
    if len(apart) == 1:
        found.append(("add", apart.pop()))
    whole = _ratio(given, wanted)
    if whole:
        found.append(("floor_div", whole))
    return found


def _ratio(wanted: Samples, given: Samples) -> int | None:
    """Return the whole number that turns one into the other in every run."""
    if not all(given) or any(a % b for a, b in zip(wanted, given, strict=True)):
        return None
    factors = {a // b for a, b in zip(wanted, given, strict=True)}
    return factors.pop() if len(factors) == 1 and all(wanted) else None
