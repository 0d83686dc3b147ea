"""How well the rows of a fit determine its parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.validation.table import FloatArray


def standard_errors(jacobian: Any, residuals: FloatArray) -> FloatArray:
    """About one standard error of each parameter, on the scale of the fit.

    The covariance (J'J)^-1 J' diag(r^2) J (J'J)^-1 asks nothing of how the rows scatter (White,
    Econometrica 48, 1980). It knows the scatter of the rows only, not what the model leaves out.

    Args:
        jacobian: derivatives of each residual (rows) by each parameter at the solution.
        residuals: at the solution.

    Returns:
        One value a parameter; infinite where no residual depends on it.
    """
    slopes = np.asarray(jacobian, dtype=float)
    out = np.full(slopes.shape[1], np.inf)
    seen = np.flatnonzero(np.abs(slopes).max(axis=0) > 0)
    if len(seen):
        slopes = slopes[:, seen]
        inverse = np.linalg.pinv(slopes.T @ slopes)
        scores = slopes * residuals[:, None]
        spread = inverse @ (scores.T @ scores) @ inverse
        out[seen] = np.sqrt(np.maximum(0.0, np.diag(spread)))
    return out
