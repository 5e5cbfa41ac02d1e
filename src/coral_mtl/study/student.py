"""Student's t distribution, through the continued fraction of the incomplete beta function."""

import functools
import math

_ROUNDING = 1e-15
_TINY = 1e-300
_MOST_TERMS = 10_000


def two_sided_p(t: float, degrees: float) -> float:
    """Return P(|T| >= |t|) = I_x(degrees / 2, 1 / 2) with x = degrees / (degrees + t^2)."""
    return regularised_beta(degrees / (degrees + t * t), 0.5 * degrees, 0.5)


@functools.cache
def critical_value(p: float, degrees: float) -> float:
    """Return the t > 0 with P(|T| >= t) = p, for 0 < p < 1, by bisection."""
    low, high = 0.0, 1.0
    while two_sided_p(high, degrees) > p:
        low, high = high, 2.0 * high
    while high - low > _ROUNDING * high:
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        low, high = (middle, high) if two_sided_p(middle, degrees) > p else (low, middle)
    return high


def regularised_beta(x: float, a: float, b: float) -> float:
    """Return I_x(a, b) for a, b > 0 and 0 <= x <= 1.

    The fraction converges fast for x below (a + 1) / (a + b + 2); above, I_x(a, b) = 1 - I_{1-x}(b, a).
    """
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - regularised_beta(1.0 - x, b, a)
    log_front = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(log_front) / (a * _beta_fraction(x, a, b))


def _beta_fraction(x: float, a: float, b: float) -> float:
    """The fraction 1 + d_1/(1 + d_2/(1 + ...)) of I_x(a, b) = x^a (1-x)^b / (a B(a, b)) / fraction, by Lentz's method.

    d_{2m} = m (b - m) x / ((a + 2m - 1)(a + 2m)), d_{2m+1} = -(a + m)(a + b + m) x / ((a + 2m)(a + 2m + 1)).
    """
    value = above = 1.0
    below = 0.0
    for term in range(1, _MOST_TERMS):
        m = term // 2
        if term % 2:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        below = 1.0 / ((1.0 + d * below) or _TINY)
        above = (1.0 + d / above) or _TINY
        value *= above * below
        if abs(above * below - 1.0) < _ROUNDING:
            break
    return value
