"""The factors and scores of fitted baselines."""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

from evaluation.baseline_inputs import Factors, Fit, Inputs


def made(baseline: Callable[..., Fit], inputs: Inputs, *args: Any, **point: Any) -> Factors:
    """Return the factors of a baseline at a point, for valid."""
    return baseline(inputs, *args, **point).factors(inputs)


def scores_of(factors: Factors) -> np.ndarray:
    """Return the scores (n_users, n_items) of factors, which are float32."""
    users, items = (part.toarray() if sp.issparse(part) else part.numpy() for part in factors)
    assert users.dtype == items.dtype == np.float32
    return users @ items.T
