"""The job of the factory frontend: import the user's module, call the factory, export what it returns."""

from collections.abc import Sequence
from typing import Any

from edgekit_converters import user_function
from edgekit_converters.errors import ModelFileError, UnsupportedError
from edgekit_converters.frontends import jax_function, keras_model, tensorflow_job, torch_job
from edgekit_converters.frontends.torch_program import Program, from_exported, from_module, import_torch
from edgekit_converters.frontends.torchscript import from_script
from edgekit_converters.jobs import Json

Made = Any  # whatever the factory returns


@user_function.current_folder_importable()  # a model may import more of the user's when it is traced
def run(request: Json) -> Json:
    """Call `request["model"]` and make everything asked for.

    Raises:
        ModelFileError: if the module or the factory is not there, or it raises.
        UnsupportedError: if it returns no model that is known, or an op cannot be had.
        CalibrationError: if the reference inputs do not fit.
        ConverterMissingError: if a library is not installed.
    """
    name = request["model"]
    model, examples = _parts(_call(name), name)
    if _is(model, "torch.nn.modules.module", "Module") or _is(model, "torch.export.exported_program", ""):
        return torch_job.answer(_torch_program(model, examples, request), request, "pytorch")
    for package, generation in (("keras", "current"), ("tf_keras", "legacy")):
        if _is(model, package, "Model"):
            served = keras_model.serve(model, generation, torch_job.shapes_of(request))
            return tensorflow_job.from_keras(served, {**request, "kind": "keras"})
    if callable(model) and examples is not None:
        return jax_function.answer(jax_function.load(model, examples, torch_job.shapes_of(request)), request)
    error = UnsupportedError(f"'{name}' returns {_said(model, examples)}, which is no model that can be converted")
    error.add_note(
        "return a torch.nn.Module, a Keras model, (module, example inputs) or (JAX function, example inputs)"
    )
    raise error


def _call(name: str) -> Made:
    factory = user_function.find(name, ModelFileError, "a function that returns a model")
    with user_function.guarded(name, ModelFileError):
        return factory()


def _parts(made: Made, name: str) -> tuple[Made, Sequence[Made] | None]:
    """Return model and example inputs; a single example may stand without a tuple around it."""
    if not isinstance(made, tuple):
        return made, None
    if len(made) != 2:  # noqa: PLR2004  # a pair
        raise UnsupportedError(f"'{name}' returns {len(made)} values, not a model or (model, example inputs)")
    model, examples = made
    return model, tuple(examples) if isinstance(examples, tuple | list) else (examples,)


def _torch_program(model: Made, examples: Sequence[Made] | None, request: Json) -> Program:
    torch = import_torch()
    samples, shapes = torch_job.samples_of(request), torch_job.shapes_of(request)
    if isinstance(model, torch.export.ExportedProgram):
        return from_exported(model)
    if isinstance(model, torch.jit.ScriptModule):
        return from_script(model.eval(), examples, samples, shapes)
    return from_module(model, examples, samples, shapes)


def _is(model: Made, module: str, name: str) -> bool:
    """Return whether an object's class or a base is of a library, without importing that library."""
    return any(
        f"{kind.__module__}.".startswith(f"{module}.") and name in {"", kind.__name__} for kind in type(model).__mro__
    )


def _said(model: Made, examples: Sequence[Made] | None) -> str:
    kind = "a function without example inputs" if callable(model) and examples is None else f"a {type(model).__name__}"
    return "nothing" if model is None else kind
