"""Small models, losses and strategies for the tests of the engine, and plain autograd to compare with."""

import numpy as np
import torch
from torch import Tensor, nn

from coral_mtl.engine.observation import Decision, Needs, Observation
from coral_mtl.engine.strategy import GradientStrategy, LossWeighting


class Toy(nn.Module):
    """A trunk, one head per task, dropout-free by default; `calls` counts the trunk's backward passes."""

    def __init__(self, tasks=("a", "b", "c"), *, seed=0, dtype=torch.float64, batch_norm=False, dropout=0.0):
        super().__init__()
        torch.manual_seed(seed)
        norm = nn.BatchNorm1d(8) if batch_norm else nn.Identity()
        self.trunk = nn.Sequential(nn.Linear(5, 8), norm, nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 6), nn.Tanh())
        self.heads = nn.ModuleDict({task: nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1)) for task in tasks})
        self.unused = nn.Linear(3, 3)
        self.to(dtype)
        self.backward_passes = 0
        self.trunk[0].weight.register_hook(self._count)

    def _count(self, gradient):
        self.backward_passes += 1

    def forward(self, inputs):
        features = self.trunk(inputs)
        return {task: head(features) for task, head in self.heads.items()}

    def losses(self, inputs, targets):
        outputs = self(inputs)
        scales = {task: 10.0**index for index, task in enumerate(outputs)}
        return {
            task: scales[task] * (out - targets[:, i : i + 1]).square().mean()
            for i, (task, out) in enumerate(outputs.items())
        }


def batch(size=12, *, seed=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(size, 5, generator=generator, dtype=dtype),
        torch.randn(size, 8, generator=generator, dtype=dtype),
    )


def plain_gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor | None]:
    """Gradients of one scalar by parameter name, from autograd.grad: the independent route."""
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
    return dict(zip(named, found, strict=True))


def expected_gradients(model, losses, coefficients, head_coefficients=None):
    """What `.grad` must be: sum_t c_t g_t where two tasks reach a parameter, sum_t h_t g_t elsewhere."""
    rows = {task: plain_gradients(model, loss) for task, loss in losses.items()}
    heads = head_coefficients or dict.fromkeys(losses, 1.0)
    expected = {}
    for name in next(iter(rows.values())):
        reached = {task: row[name] for task, row in rows.items() if row[name] is not None}
        factors = coefficients if len(reached) > 1 else heads
        expected[name] = sum(factors[task] * g for task, g in reached.items()) if reached else None
    return expected


def gram_of(model, losses, shared_names):
    rows = [plain_gradients(model, loss) for loss in losses.values()]
    flat = torch.stack(
        [
            torch.cat(
                [
                    (row[n] if row[n] is not None else torch.zeros_like(model.get_parameter(n))).reshape(-1)
                    for n in shared_names
                ]
            )
            for row in rows
        ]
    )
    return (flat @ flat.T).numpy()


def assert_gradients(model, expected, rtol=1e-12):
    for name, parameter in model.named_parameters():
        wanted = expected.get(name)
        if wanted is None:
            assert parameter.grad is None, f"{name} should have no gradient"
        else:
            torch.testing.assert_close(parameter.grad, wanted, rtol=rtol, atol=rtol, msg=lambda m, n=name: f"{n}: {m}")


def clear(model):
    for parameter in model.parameters():
        parameter.grad = None


class InverseNorm(GradientStrategy):
    """c_t = 1 / |g_t|: depends on the Gram matrix, so a stale or wrong one shows."""

    def solve(self, observation: Observation) -> Decision:
        return Decision(1 / observation.norms, records={"seen": list(observation.tasks)})


class InverseLoss(LossWeighting):
    """w_t = 1 / l_t, which needs the losses of the whole batch."""

    def weigh(self, observation: Observation) -> np.ndarray:
        return 1 / observation.losses


class Fixed(LossWeighting):
    """Weights known before the losses are."""

    needs = Needs.NOTHING

    def __init__(self, weights):
        self.weights = weights
        self.steps = 0

    def weigh(self, observation: Observation) -> np.ndarray:
        self.steps += 1
        return np.array([self.weights[task] for task in observation.tasks])

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]
