"""How alike the vectors of a series are, by their distance; and what noise comes to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.shared.passes import norm

Array = NDArray[np.floating[Any]]

_ROUNDING = 1e-12  # of a float64 mean over the points, relative to what is averaged


def autocorrelation(series: Array, lags: int) -> NDArray[np.float64]:
    """Correlate a series of vectors with itself; over all its elements.

    Parameters
    ----------
    series : ndarray of shape (T, D)
        One vector per point.
    lags : int
        The largest lag.

    Returns
    -------
    float64 ndarray of shape (lags + 1,)
        1 at lag 0.

    Raises
    ------
    ValueError
        If all vectors are the same, to rounding.

    Notes
    -----
    With the mean over the points taken away from every element of G, ::

        r[lag] = sum_t G[t] . G[t + lag] / sum_t G[t] . G[t]

    Examples
    --------
    >>> import numpy as np
    >>> autocorrelation(np.array([[1.0], [2.0], [3.0]]), 1).tolist()
    [1.0, 0.0]
    """
    centred = series - series.mean(axis=0)  # (T, D)
    if norm(centred) <= _ROUNDING * norm(series):
        raise ValueError(
            "x: the gradient is the same all along a line: nothing to correlate"
        )
    return _by_lag(centred @ centred.T, lags)


def expected_autocorrelation(
    covariance: NDArray[np.float64], lags: int
) -> NDArray[np.float64]:
    """Return what `autocorrelation` comes to for many independent series.

    Parameters
    ----------
    covariance : float64 ndarray of shape (T, T)
        Of one series of a process without drift.
    lags : int
        The largest lag.

    Returns
    -------
    float64 ndarray of shape (lags + 1,)
        The limit for D to infinity: a ratio of expectations.
    """
    centred = covariance - covariance.mean(axis=0)
    centred -= centred.mean(axis=1, keepdims=True)  # of the series less its mean
    return _by_lag(centred, lags)


def brownian_covariance(points: int) -> NDArray[np.float64]:
    """Return the covariance of a sum of independent steps: min(s, t)."""
    t = np.arange(1.0, points + 1)
    covariance: NDArray[np.float64] = np.minimum(t[:, None], t)
    return covariance


def _by_lag(products: NDArray[np.float64], lags: int) -> NDArray[np.float64]:
    """Add products of pairs up by the distance of the two; divide by those with 0."""
    sums = [float(products.trace(offset=lag)) for lag in range(lags + 1)]
    correlations: NDArray[np.float64] = np.array(sums) / sums[0]
    return correlations
