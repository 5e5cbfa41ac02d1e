import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils import parametrize

from coral_mtl.constraints import Ball, Box, NonNegative, Simplex
from coral_mtl.errors import ConfigError
from coral_mtl.registry import constraint_sets

PEER = json.loads((Path(__file__).parents[1] / "reference" / "constraints.json").read_text())["projections"]
SETS = {
    "Ball": Ball(radius=1.5),
    "Box": Box(low=-0.5, high=1.0),
    "NonNegative": NonNegative(),
    "Simplex": Simplex(radius=2.0),
}
vectors = st.lists(st.floats(-10, 10), min_size=1, max_size=8).map(lambda v: torch.tensor(v, dtype=torch.float64))


def test_every_set_is_here():
    assert sorted(SETS) == constraint_sets.names()


@pytest.mark.parametrize("name", SETS)
@given(point=vectors, other=vectors)
def test_a_projection_is_the_nearest_point(name, point, other):
    """Its point is in the set, and every point of the set lies behind the plane that it touches."""
    allowed = SETS[name]
    nearest, feasible = allowed.project(point), allowed.project(other[: len(point)])
    assert allowed.violation(nearest).max() <= 1e-12
    if len(feasible) == len(point):
        assert ((point - nearest) * (feasible - nearest)).sum() <= 1e-9
    torch.testing.assert_close(allowed.project(nearest), nearest, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("name", SETS)
def test_points_of_the_set_stay_exactly(name):
    inside = torch.tensor([0.5, 1.0, 0.5], dtype=torch.float64)
    assert torch.equal(SETS[name].project(inside), inside)


@pytest.mark.parametrize(("key", "radius"), [("simplex", 1.0), ("simplex_radius_2", 2.0)])
def test_the_simplex_against_cvxpy(key, radius):
    point = torch.tensor(PEER["y"], dtype=torch.float64)
    projected = Simplex(radius=radius).project(point)
    torch.testing.assert_close(projected, torch.tensor(PEER[key], dtype=torch.float64), rtol=0.0, atol=1e-6)
    assert (projected == 0.0).sum() == (torch.tensor(PEER[key]) < 1e-9).sum()


def test_violations_by_hand():
    point = torch.tensor([-1.0, 2.0])
    assert NonNegative().violation(point).tolist() == [[1.0, -2.0]]
    assert Box(low=0.0, high=1.5).violation(point).tolist() == [[1.0, -2.0], [-2.5, 0.5]]
    assert Simplex(radius=3.0).violation(point).tolist() == [1.0, -2.0, -2.0, 2.0]
    assert Ball(radius=1.0).violation(point).tolist() == pytest.approx([5**0.5 - 1.0])


def test_tensors_of_any_shape_are_one_point():
    point = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for allowed in SETS.values():
        flat = allowed.project(point.flatten())
        assert torch.equal(allowed.project(point), flat.view(3, 4))
    assert Simplex().project(point).sum().item() == pytest.approx(1.0)
    assert torch.linalg.vector_norm(Ball(radius=0.1).project(point)).item() == pytest.approx(0.1)


@pytest.mark.parametrize("name", SETS)
def test_the_map_onto_the_inside_has_an_inverse(name):
    generator = torch.Generator().manual_seed(1)
    transform = SETS[name].transform()
    free = 3.0 * torch.randn(5, 3, generator=generator, dtype=torch.float64)
    inside = transform(free)
    assert SETS[name].violation(inside).max() <= 1e-12
    torch.testing.assert_close(transform(transform.right_inverse(inside)), inside)
    module = torch.nn.Linear(3, 5, bias=False, dtype=torch.float64)
    module.weight.data.copy_(inside)
    parametrize.register_parametrization(module, "weight", transform)
    torch.testing.assert_close(module.weight, inside)


@pytest.mark.parametrize("bounds", [(1.0, 1.0), (1.0, 0.0), (float("nan"), 1.0)])
def test_a_box_has_an_inside(bounds):
    with pytest.raises(ConfigError):
        Box(low=bounds[0], high=bounds[1])


@pytest.mark.parametrize("kind", [Simplex, Ball])
@pytest.mark.parametrize("radius", [0.0, -1.0])
def test_radii_are_above_zero(kind, radius):
    with pytest.raises(ConfigError, match="radius"):
        kind(radius=radius)
