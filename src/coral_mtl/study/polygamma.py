"""The derivatives of log Gamma that the logs of variances need, by recurrence and asymptotic series."""

import math

_LARGE = 10.0
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66)
_HALVINGS = 60


def digamma(x: float) -> float:
    """Return d/dx log Gamma(x) for x > 0: log x - 1/(2x) - sum_k B_2k / (2k x^2k), digamma(x) = digamma(x+1) - 1/x."""
    if x < _LARGE:
        return digamma(x + 1) - 1 / x
    return math.log(x) - 1 / (2 * x) - sum(b / (2 * k * x ** (2 * k)) for k, b in enumerate(_BERNOULLI, 1))


def trigamma(x: float) -> float:
    """Return the derivative of digamma for x > 0: 1/x + 1/(2 x^2) + sum_k B_2k / x^(2k+1)."""
    if x < _LARGE:
        return trigamma(x + 1) + 1 / x**2
    return 1 / x + 1 / (2 * x**2) + sum(b / x ** (2 * k + 1) for k, b in enumerate(_BERNOULLI, 1))


def trigamma_inverse(y: float) -> float:
    """Return the x > 0 with trigamma(x) = y > 0, by bisection: 1/x < trigamma(x) < 1/x + 1/x^2."""
    low, high = 1 / y, (1 + math.sqrt(1 + 4 * y)) / (2 * y)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if trigamma(middle) > y else (low, middle)
    return high


def log_shortfall(degrees: float) -> float:
    """Return log sigma^2 - E log s^2 of a sample variance with these degrees of freedom: log(d/2) - digamma(d/2)."""
    return math.log(degrees / 2) - digamma(degrees / 2)
