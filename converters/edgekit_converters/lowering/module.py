"""A StableHLO and TFL module under construction: text with placeholders for weights.

Weights go in afterwards as binary attributes: as text they take most of the time, and as dense
resources they abort the compiler.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit_converters.lowering.dims import is_free
from edgekit_converters.model import Array

_LOCATION = re.compile(r'(?:loc\()?"([^"]*)"\)?')
DTYPES = {
    "float32": "f32",
    "int32": "i32",
    "int64": "i64",
    "bool": "i1",
    "int8": "i8",
    "uint8": "ui8",
    "float64": "f64",
}


class CompilerRefusal(Exception):  # noqa: N818  # caught and told apart inside this package
    """The compiler does not take the module: `reason`, and the `location` of the op where it says so."""

    def __init__(self, text: str) -> None:
        """Find the first error in what the compiler wrote."""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        first = next((line for line in lines if "error: " in line), lines[0] if lines else "no reason given")
        found = _LOCATION.search(first)
        self.location = found[1] if found else None
        self.reason = (
            first.rpartition("error: ")[2].removeprefix(found[0] if found else "").lstrip(": ").split(": %")[0][:300]
        )
        super().__init__(self.reason)


def location_of(name: str) -> str:
    """Return a name as it can stand in an MLIR location."""
    return "".join(letter if letter.isprintable() and letter not in '"\\' else "_" for letter in name)


@dataclass(frozen=True, slots=True)
class Ref:
    """A value of the module, in the shape it is stored in."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def type(self) -> str:
        """Its MLIR type."""
        return mlir_type(self.shape, self.dtype)


def mlir_type(shape: Sequence[int], dtype: str) -> str:
    """Return the MLIR type of a tensor of one of `DTYPES`."""
    sizes = "".join("?x" if is_free(size) else f"{size}x" for size in shape)
    return f"tensor<{sizes}{DTYPES[dtype]}>"


class Module:
    """Builds one function `main`, and those that its loops call."""

    def __init__(self, free: "Callable[[Any], Ref]") -> None:
        """Start empty; `free` makes an operand of sizes that are known at run time only."""
        self._free = free
        self._weights: list[Array] = []
        self._functions: list[tuple[str, list[Array]]] = []
        self._arguments: list[Ref] = []
        self._lines: list[str] = []
        self._count = 0
        self.location = "main"

    def _new(self, shape: Sequence[int], dtype: str) -> Ref:
        self._count += 1
        return Ref(f"%v{self._count}", tuple(size if is_free(size) else int(size) for size in shape), dtype)

    def argument(self, shape: Sequence[int], dtype: str) -> Ref:
        """Add an input."""
        ref = Ref(f"%a{len(self._arguments)}", tuple(shape), dtype)
        self._arguments.append(ref)
        return ref

    def constant(self, array: Array) -> Ref:
        """Add a weight; its values are put in by `fill`."""
        array = np.asarray(array, order="C")
        ref = self._new(array.shape, array.dtype.name)
        if array.dtype == np.bool_:  # packed bits: rare and small, so as text
            values = str(array.tolist()).lower() if array.size else ""
            self._lines.append(
                f'{ref.name} = "tfl.pseudo_const"() <{{value = dense<{values}> : {ref.type}}}> : () -> {ref.type}'
            )
            return ref
        zero = "0.0" if array.dtype.kind == "f" else "0"
        self._lines.append(
            f'{ref.name} = "stablehlo.constant"() <{{value = dense<{zero}> : {ref.type}}}> : () -> {ref.type}'
        )
        self._weights.append(array)
        return ref

    def ints(self, values: int | Sequence[int] | Sequence[Sequence[int]]) -> Ref:
        """Add an int32 operand that a TFL op reads as an attribute: a shape, axes, paddings."""
        if not isinstance(values, int) and any(
            is_free(one) for row in values for one in (row if isinstance(row, Sequence) else (row,))
        ):
            return self._free(values)
        array = np.asarray(values, dtype=np.int32)
        ref = self._new(array.shape, "int32")
        text = str(array.tolist()) if array.size else ""
        self._lines.append(
            f'{ref.name} = "tfl.pseudo_const"() <{{value = dense<{text}> : {ref.type}}}> : () -> {ref.type}'
        )
        return ref

    def nothing(self) -> str:
        """Add the operand that stands for "not given"."""
        self._count += 1
        self._lines.append(f'%n{self._count} = "tfl.no_value"() <{{value}}> : () -> none')
        return f"%n{self._count}"

    def op(self, name: str, operands: Sequence[Ref | str], attributes: str, shape: Sequence[int], dtype: str) -> Ref:
        """Add a TFL op in generic form; an operand given as text is a `nothing`."""
        ref = self._new(shape, dtype)
        names = ", ".join(one if isinstance(one, str) else one.name for one in operands)
        types = ", ".join("none" if isinstance(one, str) else one.type for one in operands)
        inside = f" <{{{attributes}}}>" if attributes else ""
        self._line(f'{ref.name} = "tfl.{name}"({names}){inside} : ({types}) -> {ref.type}')
        return ref

    def raw(self, text: str, shape: Sequence[int], dtype: str) -> Ref:
        """Add an op by its text behind `=`, with `{out}` for the result's type."""
        ref = self._new(shape, dtype)
        self._line(f"{ref.name} = {text.replace('{out}', ref.type)}")
        return ref

    def ops(
        self,
        name: str,
        operands: Sequence[Ref | str],
        attributes: str,
        shapes: Sequence[Sequence[int]],
        dtypes: str | Sequence[str],
    ) -> list[Ref]:
        """Add a TFL op with several results, of one dtype or of a dtype each."""
        self._count += 1
        each = [dtypes] * len(shapes) if isinstance(dtypes, str) else dtypes
        refs = [
            Ref(f"%v{self._count}#{place}", tuple(shape), dtype)
            for place, (shape, dtype) in enumerate(zip(shapes, each, strict=True))
        ]
        names = ", ".join(one if isinstance(one, str) else one.name for one in operands)
        types = ", ".join("none" if isinstance(one, str) else one.type for one in operands)
        results = ", ".join(one.type for one in refs)
        inside = f" <{{{attributes}}}>" if attributes else ""
        self._line(f'%v{self._count}:{len(refs)} = "tfl.{name}"({names}){inside} : ({types}) -> ({results})')
        return refs

    def loop(self, rounds: int, start: Sequence[Ref], step: Callable[[Ref, Sequence[Ref]], Sequence[Ref]]) -> list[Ref]:
        """Add a loop and return its last state.

        Args:
            rounds: how many times it runs.
            start: the first state.
            step: writes a round: the round's number (int32) and the state in, the next state out. Only what it is
                given and writes itself may be used in there.
        """
        state = [self.ints(0), *start]
        types = ", ".join(one.type for one in state)
        add = 'fused_activation_function = "NONE"'
        going = self._function(state, lambda refs: [self.op("less", [refs[0], self.ints(rounds)], "", (), "bool")])
        body = self._function(
            state, lambda refs: [self.op("add", [refs[0], self.ints(1)], add, (), "int32"), *step(refs[0], refs[1:])]
        )
        self._count += 1
        names = [f"%r{self._count}_{place}" for place in range(len(state))]
        inside = ", ".join(f"{name}: {one.type}" for name, one in zip(names, state, strict=True))
        calls = [
            f"{{\n^bb0({inside}):\n%c:{count} = func.call @{function}({', '.join(names)}) : ({types}) -> ({made})\n"
            f'"tfl.yield"({", ".join(f"%c#{place}" for place in range(count))}) : ({made}) -> ()\n}}'
            for function, count, made in ((going, 1, "tensor<i1>"), (body, len(state), types))
        ]
        given = ", ".join(one.name for one in state)
        result = f"%v{self._count}"
        self._line(
            f'{result}:{len(state)} = "tfl.while"({given}) <{{is_stateless = true}}> ({", ".join(calls)}) '
            f": ({types}) -> ({types})"
        )
        return [Ref(f"{result}#{place + 1}", one.shape, one.dtype) for place, one in enumerate(start)]

    def _function(self, arguments: Sequence[Ref], write: Callable[[Sequence[Ref]], Sequence[Ref]]) -> str:
        """Write a function beside `main`, as the regions of a loop must be calls; return its name."""
        outer = self._lines, self._weights
        self._lines, self._weights = [], []
        self._count += 1
        name = f"part{self._count}"
        own = [Ref(f"%p{self._count}_{place}", one.shape, one.dtype) for place, one in enumerate(arguments)]
        text = self._written(f"private @{name}", own, write(own), " attributes {no_inline}")
        self._functions.append((text, self._weights))
        self._lines, self._weights = outer
        return name

    def _written(self, name: str, arguments: Sequence[Ref], results: Sequence[Ref], attributes: str = "") -> str:
        given = ", ".join(f"{one.name}: {one.type}" for one in arguments)
        types = ", ".join(one.type for one in results)
        names = ", ".join(one.name for one in results)
        body = "\n".join(self._lines)
        return f"func.func {name}({given}) -> ({types}){attributes} {{\n{body}\nreturn {names} : {types}\n}}"

    @property
    def weights(self) -> list[Array]:
        """All weights in the order of the text."""
        return [*self._weights, *(array for _, weights in self._functions for array in weights)]

    def _line(self, text: str) -> None:
        self._lines.append(f'{text} loc("{location_of(self.location)}")')

    def text(self, results: Sequence[Ref]) -> str:
        """Return the module."""
        functions = [self._written("@main", self._arguments, results), *(text for text, _ in self._functions)]
        return "module {\n" + "\n".join(functions) + "\n}"


def compile_to_tflite(module: Module, results: Sequence[Ref], inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """Compile and return the flatbuffer, with a signature `serving_default` of these names.

    Raises:
        CompilerRefusal: if the compiler does not take the module.
    """

    def parse(ir: Any, _: Any) -> Any:  # noqa: ANN401  # MLIR's bindings have no types
        parsed = ir.Module.parse(module.text(results))
        _fill(parsed, module.weights, ir)
        return parsed

    return _compile(parse, inputs, outputs)


def compile_artifact(artifact: bytes, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """Compile StableHLO in its portable serialized form, as JAX exports it; the rest is as above.

    Raises:
        CompilerRefusal: if the compiler does not take the module.
    """

    def parse(_: Any, context: Any) -> Any:  # noqa: ANN401  # MLIR's bindings have no types
        from litert_converter.mlir.dialects import stablehlo

        return stablehlo.deserialize_portable_artifact(context, artifact)

    return _compile(parse, inputs, outputs)


def _compile(parse: Callable[[Any, Any], Any], inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    from litert_converter.mlir import ir, passmanager
    from litert_converter.mlir._mlir_libs import converter_api_ext

    with ir.Context() as context, ir.Location.unknown():
        converter_api_ext.prepare_mlir_context(context)
        config = converter_api_ext.ConvertToTFLConfig()
        config.canonicalizing_inf_as_min_max_float = False
        try:
            parsed = parse(ir, context)
            converter_api_ext.run_convert_to_tfl_passes(parsed, passmanager.PassManager(), config)
            converter_api_ext.set_signature(parsed.operation, "serving_default", list(inputs), list(outputs))
            exported: bytes = converter_api_ext.export_flatbuffer_to_bytes(parsed.operation)
        except Exception as exc:  # MLIR's errors have no common base
            raise CompilerRefusal(str(exc)) from exc
    return bytes(exported)


def _fill(parsed: object, weights: Sequence[Array], ir: object) -> None:
    functions = list(parsed.body.operations)  # type: ignore[attr-defined]  # MLIR's bindings have no types
    every = [op for function in functions for op in function.regions[0].blocks[0].operations]
    constants = [op for op in every if op.operation.name == "stablehlo.constant"]
    for op, array in zip(constants, weights, strict=True):
        # NumPy's unsigned bytes would come out as bytes without a sign
        unsigned = ir.IntegerType.get_unsigned(8) if array.dtype == np.uint8 else None  # type: ignore[attr-defined]  # no types
        op.operation.attributes["value"] = ir.DenseElementsAttr.get(array, type=unsigned)  # type: ignore[attr-defined]  # no types
