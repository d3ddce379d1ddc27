"""Errors of conversion, by what the caller can do about them.

Each message is one sentence naming the offending thing; advice goes into notes (`add_note`).
"""


class ConversionError(Exception):
    """Base: the model or its data is bad, or cannot be converted as asked (exit code 3)."""


class ModelFileError(ConversionError):
    """The model file is missing, truncated, or not what its name says."""


class UnsupportedError(ConversionError):
    """The model is fine but something in it cannot be had: names the op and the node."""


class CalibrationError(ConversionError):
    """Calibration data is missing, has wrong names, shapes, dtypes, or values that are not finite."""


class TrainingError(ConversionError):
    """A net, a batch or a loss that cannot be trained with, or a checkpoint of another training."""


class CheckpointError(ConversionError):
    """A checkpoint cannot be written (exit code 4)."""


class PrecisionError(ConversionError):
    """A precision the target does not have: names those it has (exit code 2)."""


class ConverterMissingError(ConversionError):
    """A library is not installed: names the extra to install (exit code 4)."""


class DeadlineError(ConversionError):
    """A run of the model takes longer than anyone waits."""


class JobCrashedError(ConversionError):
    """A library ended the process it ran in, or no memory or time was enough for it; the log has its last words."""
