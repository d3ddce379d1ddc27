"""The table of commands, and the one place where errors become exit codes."""

import errno
import os
import sys
from typing import Annotated, NoReturn

import typer

from edgekit import errors
from edgekit.cli import (
    bench,
    bundle,
    check,
    compare,
    compress,
    convert,
    cut,
    doctor,
    evaluate,
    flash,
    fleet,
    inspect,
    join,
    pack,
    quickstart,
    repo,
    targets,
)
from edgekit_agent import errors as agent
from edgekit_converters import errors as conversion

app = typer.Typer(
    name="edgekit",
    help="From a trained model to measured latency on a fleet of edge devices.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rendering it with rich doubles the time of --help
)

app.command("quickstart")(quickstart.quickstart)
app.command("convert")(convert.convert)
app.command("compress")(compress.compress)
app.command("inspect")(inspect.inspect)
app.command("join")(join.join)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("bench")(bench.bench)
app.command("cut")(cut.cut)
app.command("check")(check.check)
app.command("pack")(pack.pack)
app.command("unpack")(pack.unpack)
app.add_typer(bundle.app, name="bundle")
app.add_typer(targets.app, name="targets")
app.add_typer(repo.app, name="repo")
app.command("flash")(flash.flash)
app.add_typer(fleet.app, name="fleet")
app.command("doctor")(doctor.doctor)

# The first row that fits decides, so the special stands before the general.
EXIT_CODES: tuple[tuple[type[Exception], int], ...] = (
    (errors.UsageError, 2),
    (conversion.PrecisionError, 2),
    (conversion.ConverterMissingError, 4),
    (conversion.CheckpointError, 4),
    (errors.EnvironmentMissingError, 4),
    (agent.RuntimeMissingError, 4),
    (errors.DeviceError, 5),
    (agent.TransportError, 5),
    (errors.GateError, 6),
    (conversion.ConversionError, 3),
    (errors.EdgeKitError, 3),
    (agent.AgentError, 3),
)
# What the machine refuses: room, permission, a writable file system.
_MISSING_HERE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


def _version(wanted: bool) -> None:
    if wanted:
        from edgekit_agent import __version__

        typer.echo(f"edgekit {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


def _say_nothing_more() -> NoReturn:
    """End well: whoever read what is printed has enough, as `head` has."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)


def main() -> None:
    """Run the command line; expected failures are one sentence and an exit code, never a traceback."""
    expected = tuple(kind for kind, _ in EXIT_CODES)
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # what `| head` does not read shows here, where it is dealt with
    except expected as exc:
        print(f"error: {exc}", file=sys.stderr)
        for note in getattr(exc, "__notes__", []):
            print(f"hint: {note}", file=sys.stderr)
        sys.exit(next(code for kind, code in EXIT_CODES if isinstance(exc, kind)))
    except BrokenPipeError:
        _say_nothing_more()
    except SystemExit as exc:
        # Typer and rich make 1 of a reader that is gone
        if not isinstance(exc.__context__, BrokenPipeError):
            raise
        _say_nothing_more()
    except OSError as exc:
        if exc.errno not in _MISSING_HERE:
            raise
        where = f"'{exc.filename}': " if exc.filename else ""
        print(f"error: {where}{exc.strerror}", file=sys.stderr)
        sys.exit(4)


if __name__ == "__main__":
    main()
