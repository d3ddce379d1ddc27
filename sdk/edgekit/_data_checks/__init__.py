"""Can calibration data be what the model sees later? Warnings that name the likely mistake."""

from edgekit._data_checks.checks import check_calibration, check_evaluation

__all__ = ["check_calibration", "check_evaluation"]
