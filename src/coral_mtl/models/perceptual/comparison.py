"""From two distances to a choice: G(d0, d1), with sigmoid(G) the probability that the second image is chosen.

The second image is chosen where it is the nearer one, so G rises with d0 and falls with d1.
"""

from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from coral_mtl.errors import ConfigError
from coral_mtl.options import Positive, PositiveInt, checked


@partial(checked, error=ConfigError)
class Difference(nn.Module):
    """G = (d0 - d1) / tau."""

    def __init__(self, *, temperature: Positive = 1.0, learned: bool = False) -> None:
        """Set the temperature.

        Args:
            temperature: tau, in units of distance (default 1.0).
            learned: whether log tau is a parameter; without it the weights of the distance set the scale, and bounded
                ones hardly leave a probability of 1/2 (default false).
        """
        super().__init__()
        self.log_temperature = _log_temperature(temperature, learned)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return (first - second) * torch.exp(-self.log_temperature)


@partial(checked, error=ConfigError)
class LogRatio(nn.Module):
    """G = log((d0 + eps) / (d1 + eps)) / tau: 0 at ties, 0/0 included, with a slope of at most 1 / (eps tau)."""

    def __init__(self, *, epsilon: Positive, temperature: Positive = 1.0, learned: bool = False) -> None:
        """Set what counts as no distance.

        Args:
            epsilon: distance below which ratios fade; a tenth of the median distance is a good one.
            temperature: tau, in units of log distance (default 1.0).
            learned: whether log tau is a parameter (default false).
        """
        super().__init__()
        self.epsilon = epsilon
        self.log_temperature = _log_temperature(temperature, learned)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        ratio = torch.log(first + self.epsilon) - torch.log(second + self.epsilon)
        return ratio * torch.exp(-self.log_temperature)


@partial(checked, error=ConfigError)
class LearnedComparison(nn.Module):
    """G = net(d0, d1, d0 - d1, d0 / (d1 + eps), d1 / (d0 + eps)), with two hidden layers (lpips' ranking network).

    Leaky rectifiers of slope 0.2, no sigmoid. It need not be antisymmetric: equal distances may favour one side. See
    `Antisymmetric`.
    """

    def __init__(self, *, width: PositiveInt = 32, epsilon: Positive = 0.1) -> None:
        """Set the size.

        Args:
            width: units of each hidden layer; 32 make 1,281 parameters (default 32).
            epsilon: added to the denominators (default 0.1).
        """
        super().__init__()
        self.epsilon = epsilon
        self.net = nn.Sequential(
            nn.Linear(5, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2), nn.Linear(width, 1)
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        ratios = first / (second + self.epsilon), second / (first + self.epsilon)
        inputs = torch.stack([first, second, first - second, *ratios], dim=-1)
        return cast(Tensor, self.net(inputs)).squeeze(-1)


class Antisymmetric(nn.Module):
    """(G(d0, d1) - G(d1, d0)) / 2 of another comparison: 0 at ties, and the other way round for swapped images."""

    def __init__(self, comparison: nn.Module) -> None:
        super().__init__()
        self.comparison = comparison

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        swapped: Tensor = self.comparison(second, first)
        return (self.comparison(first, second) - swapped) / 2.0


def _log_temperature(temperature: float, learned: bool) -> Tensor:
    return nn.Parameter(torch.tensor(temperature).log(), requires_grad=learned)
