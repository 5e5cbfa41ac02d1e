import math

import pytest
import torch
from polygon_values import CASES, CONTENT, case, convex, exact, scattered

from coral_mtl.losses.polygon import mean_loss, mgiou, polygon_pairs

TOLERANCE = {"rtol": 0.0, "atol": 1e-12}
ONE_GRADIENT = ("identical_square", "reversed_order", "rotated_start", "convex_quads", "triangle", "bow_tie")
"""Cases where no two vertices of a shape share an extreme that only one of them need be given, or nothing is given."""


def losses(prediction, target, **options):
    return mgiou(polygon_pairs(prediction, target, **options)).loss


def by_hand(prediction, target):
    """MGIoU's loss of one pair, axis by axis and vertex by vertex."""
    axes = []
    for shape in (prediction, target):
        centre = [sum(vertex[c] for vertex in shape) / len(shape) for c in (0, 1)]
        ordered = sorted(shape, key=lambda vertex: math.atan2(vertex[1] - centre[1], vertex[0] - centre[0]))
        for (x, y), (u, v) in zip(ordered, ordered[1:] + ordered[:1], strict=True):
            axes.append((v - y, x - u))
    longest = max(math.hypot(*axis) for axis in axes)
    total, kept = 0.0, 0
    for a, b in axes:
        if math.hypot(a, b) > 1e-6 * longest:
            p, t = ([a * x + b * y for x, y in shape] for shape in (prediction, target))
            total += (min(max(p), max(t)) - max(min(p), min(t))) / (max(*p, *t) - min(*p, *t))
            kept += 1
    return (1.0 - total / kept) / 2.0


@pytest.mark.parametrize("name", [name for name in CASES if name != "repeated_vertex"])
def test_values_are_those_of_the_public_package(name):
    torch.testing.assert_close(losses(*case(name)), exact([CASES[name]["mgiou_loss"]]), **TOLERANCE)


@pytest.mark.parametrize("name", ONE_GRADIENT)
def test_gradients_are_those_of_the_public_package(name):
    prediction, target = case(name)
    loss = losses(prediction.requires_grad_(), target)
    norm = torch.autograd.grad(loss.sum(), prediction)[0].norm()
    assert norm.item() == pytest.approx(CASES[name]["mgiou_grad_norm"], rel=1e-12, abs=1e-15)


def test_a_batch_with_its_whole_gradient():
    batch = CONTENT["batch"]
    prediction = exact(batch["pred"]).requires_grad_()
    loss = losses(prediction, exact(batch["target"]))
    torch.testing.assert_close(loss.detach(), exact(batch["loss"]), **TOLERANCE)
    gradient = torch.autograd.grad(loss.sum(), prediction)[0]
    torch.testing.assert_close(gradient, exact(batch["grad"]), **TOLERANCE)


def test_rotated_boxes():
    def corners(boxes):
        x, y, w, h, r = exact(boxes).T
        ends = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
        along, across = (torch.stack([sign[c] * side / 2 for sign in ends], 1) for c, side in ((0, w), (1, h)))
        cos, sin = r.cos()[:, None], -r.sin()[:, None]  # the peer turns clockwise
        return torch.stack([x[:, None] + along * cos - across * sin, y[:, None] + along * sin + across * cos], dim=2)

    boxes = CONTENT["rotated_boxes"]
    ours = losses(corners(boxes["pred"]), corners(boxes["target"]))
    torch.testing.assert_close(ours, exact(boxes["loss_one_at_a_time"]), **TOLERANCE)


@pytest.mark.parametrize(("scale", "shift", "expected"), [(1, 100, "official"), (5, 7, "scaled")])
def test_position_and_size_are_seen(scale, shift, expected):
    square = exact([[0, 0], [1, 0], [1, 1], [0, 1]])
    target = square * exact([2, 4, 6, 8])[:, None, None]
    ours = losses(scale * target + shift, target)
    torch.testing.assert_close(ours, exact(CONTENT["shifted_squares"][expected]), **TOLERANCE)


@pytest.mark.parametrize("vertices", [3, 4, 5, 8, 17])
def test_any_number_of_vertices_in_any_shape(vertices):
    prediction, target = scattered(20, vertices, seed=1), convex(20, vertices, seed=2)
    expected = [by_hand(p, t) for p, t in zip(prediction.tolist(), target.tolist(), strict=True)]
    torch.testing.assert_close(losses(prediction, target), exact(expected), **TOLERANCE)


@pytest.mark.parametrize("seed", range(5))
def test_any_order_of_the_vertices_of_convex_shapes(seed):
    prediction, target = convex(50, 7, seed=2 * seed), convex(50, 7, seed=2 * seed + 1)
    generator = torch.Generator().manual_seed(seed)
    shuffled = prediction[:, torch.randperm(7, generator=generator)]
    torch.testing.assert_close(losses(shuffled, target), losses(prediction, target), **TOLERANCE)
    other = target[:, torch.randperm(7, generator=generator)]
    torch.testing.assert_close(losses(prediction, other), losses(prediction, target), **TOLERANCE)
    torch.testing.assert_close(losses(shuffled, prediction), torch.zeros(50, dtype=torch.float64), **TOLERANCE)


@pytest.mark.parametrize("seed", range(5))
def test_a_map_of_both_shapes_changes_nothing(seed):
    prediction, target = convex(50, 6, seed=2 * seed), convex(50, 6, seed=2 * seed + 1)
    generator = torch.Generator().manual_seed(seed)
    linear = torch.randn(50, 2, 2, dtype=torch.float64, generator=generator)
    linear = linear + 2.0 * torch.sign(torch.linalg.det(linear))[:, None, None] * torch.eye(2, dtype=torch.float64)
    shift = torch.randn(50, 1, 2, dtype=torch.float64, generator=generator)
    mapped = losses(prediction @ linear + shift, target @ linear + shift)
    torch.testing.assert_close(mapped, losses(prediction, target), **TOLERANCE)


def test_swapping_changes_nothing():
    for first, second in [(convex(50, 6, 0), convex(50, 6, 1)), (scattered(50, 9, 2), scattered(50, 9, 3))]:
        torch.testing.assert_close(losses(first, second), losses(second, first), **TOLERANCE)


def test_the_triangle_inequality_fails_at_times():
    first, second, third = (convex(4000, 3, seed) for seed in (0, 1, 2))
    shortcut = losses(first, third) - losses(first, second) - losses(second, third)
    assert (shortcut > 1e-3).any()


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_knows_that_a_map_of_both_shapes_changes_nothing(name):
    """Sum_i g_i = 0 and sum_i v_i g_i' = 0 over the vertices of both, also where extremes are shared."""
    both = torch.cat(case(name)).requires_grad_()
    gradient = torch.autograd.grad(losses(both[:1], both[1:]).sum(), both)[0].flatten(0, 1)
    assert gradient.isfinite().all()
    size = both.detach().abs().max().item()
    torch.testing.assert_close(size * gradient.sum(dim=0), torch.zeros(2, dtype=torch.float64), **TOLERANCE)
    moments = both.detach().flatten(0, 1).T @ gradient
    torch.testing.assert_close(moments, torch.zeros(2, 2, dtype=torch.float64), **TOLERANCE)


def test_an_extreme_that_two_vertices_share_pulls_both():
    inner, outer = case("contained_square")
    gradient = torch.autograd.grad(losses(inner.requires_grad_(), outer).sum(), inner)[0][0]
    outwards = torch.sign(inner.detach()[0] - 1.0)
    torch.testing.assert_close(gradient * outwards, torch.full((4, 2), -1.0 / 16, dtype=torch.float64), **TOLERANCE)


def test_gradients_of_both_shapes_in_general_position():
    prediction, target = scattered(6, 5, seed=8).requires_grad_(), convex(6, 5, seed=9).requires_grad_()
    assert torch.autograd.gradcheck(losses, (prediction, target), eps=1e-7, atol=1e-6)


def test_repeated_vertices_and_points_have_values_and_gradients():
    square = exact([[0, 0], [2, 0], [2, 2], [0, 2]])
    repeated, target = case("repeated_vertex")
    assert losses(repeated, target).item() == 0.0
    doubled = torch.stack([square[[0, 1, 1, 1]], square[[0, 0, 0, 0]] + 1, square[[0, 2, 0, 2]]]).requires_grad_()
    loss = losses(doubled, square.expand(3, 4, 2))
    assert loss.tolist() == pytest.approx([by_hand(s, square.tolist()) for s in doubled.tolist()], abs=1e-12)
    assert torch.autograd.grad(loss.sum(), doubled)[0].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_are_finite_everywhere(dtype):
    generator = torch.Generator().manual_seed(0)
    grid = torch.randint(0, 3, (3000, 5, 2), generator=generator).to(dtype)  # full of repeated and collinear vertices
    prediction, target = grid[:1500].requires_grad_(), grid[1500:].requires_grad_()
    for shift, scale in ((0.0, 1.0), (1e4, 1.0), (0.0, 1e-6), (0.0, 1e6)):
        rows = mgiou(polygon_pairs(prediction * scale + shift, target * scale + shift))
        assert rows.loss.isfinite().all()
        assert 0.0 <= rows.loss.min() <= rows.loss.max() < 1.0
        assert all(g.isfinite().all() for g in torch.autograd.grad(rows.loss.sum(), (prediction, target)))


def test_masked_vertices_are_as_good_as_absent():
    prediction, target = scattered(30, 9, seed=3), convex(30, 9, seed=4)
    mask = torch.rand(30, 9, generator=torch.Generator().manual_seed(5)) < 0.7
    prediction[~mask], target[~mask] = float("nan"), 1e9
    prediction.requires_grad_()
    rows = mgiou(polygon_pairs(prediction, target, mask=mask))
    enough = mask.sum(dim=1) >= 3
    assert torch.equal(rows.counted, enough)
    expected = [
        by_hand(p[m].tolist(), t[m].tolist()) for p, t, m in zip(prediction, target, mask, strict=True) if sum(m) > 2
    ]
    torch.testing.assert_close(rows.loss[enough].detach(), exact(expected), **TOLERANCE)
    gradient = torch.autograd.grad(mean_loss(rows), prediction)[0]
    assert gradient.isfinite().all()
    assert (gradient[~mask] == 0).all()


def test_what_mgiou_cannot_see():
    bow_tie, square = case("bow_tie")
    loss = losses(bow_tie.requires_grad_(), square)
    assert loss.item() == 0.0
    assert torch.autograd.grad(loss.sum(), bow_tie)[0].abs().max() == 0.0
    dented, target = case("concave_prediction")
    gradient = torch.autograd.grad(losses(dented.requires_grad_(), target).sum(), dented)[0]
    assert gradient[0, 2].abs().max() == 0.0  # the vertex of the dent


def test_a_point_in_the_middle_of_the_target_is_not_pulled_anywhere():
    point = torch.ones(1, 4, 2, dtype=torch.float64, requires_grad=True)
    gradient = torch.autograd.grad(losses(point, case("identical_square")[1]).sum(), point)[0]
    assert gradient.sum(dim=1).abs().max() == 0.0


def test_degenerate_targets_do_not_count():
    square = exact([[0, 0], [2, 0], [2, 2], [0, 2]])
    targets = torch.stack(
        [square, square * 0, square * exact([1, 0]), square * exact([1, 5e-5]), square * exact([1, 2e-4])]
    )
    rows = mgiou(polygon_pairs(square.expand(5, 4, 2), targets))
    assert rows.counted.tolist() == [True, False, False, False, True]
    assert rows.loss.isfinite().all()


def test_a_prediction_that_is_not_finite_is_not_hidden():
    prediction, target = case("convex_quads")
    prediction[0, 1, 0] = float("nan")
    assert mean_loss(mgiou(polygon_pairs(prediction, target))).isnan()


def test_single_precision_far_from_the_origin():
    prediction, target = convex(500, 8, seed=1) + 0.3, convex(500, 8, seed=1)
    shift = 4096.0
    single = losses((prediction + shift).float(), (target + shift).float())
    torch.testing.assert_close(single.double(), losses(prediction, target), rtol=0.0, atol=1e-3)
    assert losses(prediction.half(), target.half()).dtype == torch.float32
