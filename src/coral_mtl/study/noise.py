"""How noisy the differences of strategies are: each pair's variance, made surer by what the other pairs show."""

import numpy as np

from coral_mtl.study.polygamma import log_shortfall, trigamma, trigamma_inverse

_FEWEST_PAIRED = 3
_CAUTION = 1.5


def moderated(variances: np.ndarray, degrees: int) -> tuple[np.ndarray, float]:
    """Return surer estimates of the variances s_ab^2 (K, K) of paired differences, and their degrees of freedom.

    Log variances are estimated with a known error (Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3(1) art. 3, section 6.2)
    and drawn towards what they have in common (Cui et al. 2005, Biostatistics 6(1), 59), here by strategies and pairs:

        log s_ab^2 + shortfall = mean + u_a + u_b + w_ab + error,   u_k ~ (0, tau^2),  w_ab ~ (0, omega^2),

    in which errors have the variance trigamma(degrees / 2), and two pairs with a strategy in common the covariance
    1 / (2 degrees), to first order. tau^2 and omega^2 come from the spread of the logs, u_a + u_b and w_ab are drawn
    towards 0 as far as the error explains them, and the degrees of the result are those of a log variance with the
    error that is left. Where all strategies are alike that is close to pooling, (K - 1) degrees in place of one; where
    they are not each pair is left with its own. tau^2 is taken half as large again, since one that comes out too small
    makes noisy strategies look quiet (measured in tests/study/test_error_rates.py).

    Pairs without any variance learn from the others, and tell nothing. Fewer than three strategies have nothing to
    learn from: s_ab^2 stays as it is.
    """
    count, shown = len(variances), variances > 0.0
    if count < _FEWEST_PAIRED or not shown.any():
        return variances, degrees
    pairs = count * (count - 1) / 2
    error = trigamma(degrees / 2)
    common = 1 / (2 * degrees)
    alone = error - 2 * common
    logs = np.log(variances, where=shown, out=np.zeros_like(variances))
    mean = logs[shown].mean()

    deviations = np.where(shown, logs - mean, 0.0)
    by_strategy = deviations.sum(axis=1) / (count - 2)
    expected = by_strategy[:, None] + by_strategy
    rest = ((deviations - expected)[~np.eye(count, dtype=bool)] ** 2).sum() / 2
    omega2 = max(rest / (pairs - count) - alone, 0.0) if pairs > count else 0.0
    strategy_error = common + (alone + omega2) / (count - 2)
    tau2 = max(_CAUTION * (by_strategy**2).sum() / (count - 1) - strategy_error, 0.0)

    of_strategies, of_pairs = tau2 / (tau2 + strategy_error), omega2 / (omega2 + alone)
    drawn = mean + of_strategies * expected
    drawn += np.where(shown, of_pairs * (logs - drawn), 0.0)
    left = (error + 2 * (count - 2) * common) / pairs  # of the mean, then of u_a + u_b, then of w_ab
    left += 2 * (count - 2) / (count - 1) * of_strategies * strategy_error + of_pairs * alone
    found = 2 * trigamma_inverse(min(left, error))
    return np.exp(drawn + log_shortfall(degrees) - log_shortfall(found)), found
