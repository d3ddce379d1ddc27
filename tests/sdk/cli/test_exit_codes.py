"""Errors become one sentence, hints and the design's exit codes."""

import errno

import pytest

from edgekit import errors
from edgekit.cli import main
from edgekit_agent import errors as agent
from edgekit_converters import errors as conversion

WANTED = [
    (errors.UsageError, 2),
    (conversion.PrecisionError, 2),
    (errors.DataError, 3),
    (conversion.ModelFileError, 3),
    (conversion.UnsupportedError, 3),
    (conversion.CalibrationError, 3),
    (conversion.JobCrashedError, 3),
    (agent.ModelError, 3),
    (agent.ConfigError, 3),
    (agent.InputDataError, 3),
    (errors.EnvironmentMissingError, 4),
    (conversion.ConverterMissingError, 4),
    (agent.RuntimeMissingError, 4),
    (errors.DeviceError, 5),
    (agent.TransportError, 5),
    (errors.GateError, 6),
]


def _end(monkeypatch: pytest.MonkeyPatch, failure: BaseException) -> object:
    def fail() -> None:
        raise failure

    monkeypatch.setattr(main, "app", fail)
    with pytest.raises(SystemExit) as end:
        main.main()
    return end.value.code


@pytest.mark.parametrize(("kind", "code"), WANTED, ids=lambda value: getattr(value, "__name__", str(value)))
def test_each_kind_has_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: type[Exception], code: int
) -> None:
    failure = kind("the thing is wrong")
    failure.add_note("do this")
    assert _end(monkeypatch, failure) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "error: the thing is wrong\nhint: do this\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_what_the_machine_refuses_is_missing_here(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    assert _end(monkeypatch, OSError(number, "refused", "file")) == 4


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise KeyError("bug")

    monkeypatch.setattr(main, "app", fail)
    with pytest.raises(KeyError):
        main.main()
