import math
from functools import partial

import pytest
import torch
from polygon_values import CASES, CONTENT, case, convex, exact, scattered

from coral_mtl.errors import ConfigError, DataError
from coral_mtl.losses.polygon import (
    HybridPolygonLoss,
    Rows,
    cyclically_aligned,
    l2,
    log,
    mean_loss,
    mgiou,
    nonconvexity,
    oks,
    polygon_pairs,
    signed_area,
)

TOLERANCE = {"rtol": 0.0, "atol": 1e-12}
SQUARE = exact([[0, 0], [2, 0], [2, 2], [0, 2]])


def by_vertex(term, prediction, target, **options):
    return term(polygon_pairs(prediction, target, **options))


def one_distance(e):
    """A square whose first vertex is off by sqrt(e A), the only one that counts."""
    prediction = SQUARE.clone()
    prediction[0, 0] -= math.sqrt(4.0 * e)
    return prediction[None], SQUARE[None], torch.tensor([[1, 0, 0, 0]])


@pytest.mark.parametrize("name", CASES)
def test_areas_are_shapelys(name):
    for shape, area in zip(case(name), ("area_pred", "area_target"), strict=True):
        ours = signed_area(shape.permute(2, 1, 0)).abs().item()
        expected = 0.0 if (name, area) == ("bow_tie", "area_pred") else CASES[name][area]  # shapely mends it to 2
        assert ours == pytest.approx(expected, rel=1e-12)


def test_the_sign_of_an_area_is_the_direction():
    assert signed_area(SQUARE.T[..., None]).item() == 4.0
    assert signed_area(SQUARE.flip(0).T[..., None]).item() == -4.0


@pytest.mark.parametrize("index", range(9))
def test_three_forms_of_a_distance(index):
    e, loss, slope = (CONTENT["saturation"][key][index] for key in CONTENT["saturation"])
    prediction, target, mask = one_distance(e)
    prediction.requires_grad_()
    area = exact([4.0])
    peers = 1 + 1e-9  # what ultralytics makes of an area of 1, and of one visible vertex
    rows = by_vertex(oks, prediction, target, mask=mask, area=area * peers)
    gradient = torch.autograd.grad(rows.loss.sum(), prediction)[0]
    assert rows.loss.item() / peers == pytest.approx(loss, abs=1e-12)
    assert gradient.norm().item() * 2.0 / peers == pytest.approx(slope, abs=1e-12)
    assert by_vertex(l2, prediction, target, mask=mask, area=area).loss.item() == pytest.approx(e, abs=1e-12)
    assert by_vertex(log, prediction, target, mask=mask, area=area).loss.item() == pytest.approx(
        math.log1p(e), abs=1e-12
    )


def test_the_falloff_of_coco():
    prediction, target, mask = one_distance(0.3)
    sigma = 0.1
    rows = oks(polygon_pairs(prediction, target, mask=mask, area=exact([4.0])), falloff=8 * sigma**2)
    assert rows.loss.item() == pytest.approx(1 - math.exp(-0.3 / 0.08), abs=1e-12)


@pytest.mark.parametrize(("name", "factor"), [("masked", 1.0), ("visibility_two", 0.5)])
def test_keypoints_against_ultralytics(name, factor):
    """Its mean counts a row that nothing is visible of; with visibility 2 it is twice too large."""
    peer = CONTENT["keypoints"]["cases"][name]
    prediction, target = (exact(CONTENT["keypoints"][key]) for key in ("pred", "target"))
    mask = exact(peer["mask"])
    prediction.requires_grad_()
    rows = by_vertex(oks, prediction, target, mask=mask, area=exact(peer["area"]) + 1e-9)
    visible = (mask > 0).sum(dim=1).double()
    ours = (rows.loss * visible / (visible + 1e-9)).sum() / 4
    assert ours.item() == pytest.approx(factor * peer["loss"], abs=1e-12)
    gradient = torch.autograd.grad(ours, prediction)[0]
    torch.testing.assert_close(gradient, factor * exact(peer["grad"]), **TOLERANCE)
    assert rows.counted.tolist() == [True, True, False, True]
    assert mean_loss(rows).item() == pytest.approx(rows.loss.sum().item() / 3, abs=1e-12)


def test_an_area_of_zero_is_no_denominator():
    peer = CONTENT["keypoints"]["cases"]["zero_area"]
    prediction, target = (exact(CONTENT["keypoints"][key]) for key in ("pred", "target"))
    prediction.requires_grad_()
    pairs = polygon_pairs(prediction, target, mask=exact(peer["mask"]), area=exact(peer["area"]))
    rows = l2(pairs)
    gradient = torch.autograd.grad(mean_loss(rows), prediction)[0]
    assert pairs.degenerate.all()
    assert rows.counted.tolist() == [True, True, False, True]
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0.0  # the peer's is 0 throughout
    extent = target[0].amax(0) - target[0].amin(0)
    expected = (prediction[0] - target[0]).square().sum(dim=1).mean() / (1e-4 * extent.square().sum())
    assert rows.loss[0].item() == pytest.approx(expected.item())


def test_losses_do_not_know_the_unit():
    prediction, target = scattered(20, 5, seed=0), convex(20, 5, seed=1)
    for term in (l2, oks, log, mgiou, nonconvexity):
        for_metres, for_pixels = by_vertex(term, prediction, target), by_vertex(term, 512 * prediction, 512 * target)
        torch.testing.assert_close(for_metres.loss, for_pixels.loss, rtol=1e-12, atol=0.0)
        assert torch.equal(for_metres.counted, for_pixels.counted)


def test_a_target_that_is_a_point_counts_where_its_area_is_given():
    point = torch.full((1, 4, 2), 3.0, dtype=torch.float64)
    rows = by_vertex(l2, SQUARE[None], point)
    assert not rows.counted.any()
    assert rows.loss.isfinite().all()
    with_area = by_vertex(l2, SQUARE[None], point, area=exact([2.0]))
    assert with_area.counted.all()
    assert with_area.loss.item() == pytest.approx((SQUARE - 3).square().sum(dim=1).mean().item() / 2)


@pytest.mark.parametrize("name", [name for name in CASES if name != "bow_tie"])
def test_convexity_is_the_public_packages_over_the_area(name):
    rows = by_vertex(nonconvexity, *case(name))
    expected = CASES[name]["mgiou_convexity_penalty"] / CASES[name]["area_target"]
    assert rows.loss.item() == pytest.approx(expected, abs=1e-12)


def test_a_bow_tie_turns_the_wrong_way_at_two_of_four_vertices():
    assert by_vertex(nonconvexity, *case("bow_tie")).loss.item() == pytest.approx(2.0 / 4.0, abs=1e-12)


def test_convexity_asks_the_whole_polygon_for_the_right_turn():
    dented, target = case("concave_prediction")
    expected = by_vertex(nonconvexity, dented, target).loss
    for start in range(5):  # the public package takes the turn of the first vertex for the right one
        for order in (dented.roll(start, dims=1), dented.roll(start, dims=1).flip(1)):
            torch.testing.assert_close(by_vertex(nonconvexity, order, target).loss, expected, **TOLERANCE)
    for convex_shape in (convex(50, 7, seed=0), convex(50, 7, seed=0).flip(1)):
        assert by_vertex(nonconvexity, convex_shape, convex(50, 7, seed=1)).loss.max() <= 1e-15


def test_convexity_of_valid_vertices_joins_the_ends():
    dented, target = case("concave_prediction")
    expected = by_vertex(nonconvexity, dented, target).loss
    for dent in range(5):
        order = [*range(dent + 1), 0, *range(dent + 1, 5)]
        mask = torch.ones(1, 6, dtype=torch.bool)
        mask[0, dent + 1] = False
        masked = by_vertex(nonconvexity, dented[:, order], target[:, order], mask=mask)
        torch.testing.assert_close(masked.loss, expected, **TOLERANCE)


@pytest.mark.parametrize("area", [None, exact([1, 2, 3, 4, 5, 6])])
@pytest.mark.parametrize("term", [l2, oks, log, nonconvexity])
def test_gradients(term, area):
    inputs = scattered(6, 5, seed=0).requires_grad_(), convex(6, 5, seed=1).requires_grad_()
    shown = [[1, 1, 1, 1, 1], [1, 0, 1, 1, 1], [0, 1, 1, 1, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]
    degenerate = term is not nonconvexity and area is None  # rows 4 and 5: the area of a point is its own
    rows = slice(0, 4 if degenerate else 6)
    loss = partial(by_vertex, term, mask=torch.tensor(shown)[rows], area=area)
    assert torch.autograd.gradcheck(lambda p, t: loss(p[rows], t[rows]).loss, inputs)


def test_alignment_finds_the_rotation_and_direction():
    target = convex(40, 6, seed=0)
    prediction = target + 0.01 * scattered(40, 6, seed=1)
    expected = by_vertex(l2, prediction, target).loss
    for start in range(6):
        for order in (target.roll(start, dims=1), target.roll(start, dims=1).flip(1)):
            pairs = cyclically_aligned(polygon_pairs(prediction, order))
            torch.testing.assert_close(l2(pairs).loss, expected, rtol=1e-9, atol=0.0)


def test_alignment_is_the_best_of_all_orders_of_the_valid_vertices():
    prediction, target = scattered(25, 7, seed=2), scattered(25, 7, seed=3)
    mask = torch.rand(25, 7, generator=torch.Generator().manual_seed(4)) < 0.7
    aligned = l2(cyclically_aligned(polygon_pairs(prediction, target, mask=mask, area=torch.ones(25).double())))
    for row in range(25):
        p, t = prediction[row, mask[row]], target[row, mask[row]]
        orders = [o for start in range(len(t)) for o in (t.roll(start, 0), t.roll(start, 0).flip(0))]
        best = min((float((p - order).square().sum(dim=1).mean()) for order in orders), default=0.0)
        assert aligned.loss[row].item() == pytest.approx(best, abs=1e-12)


def test_alignment_has_the_gradient_of_the_order_it_chose():
    prediction, target = scattered(5, 4, seed=5).requires_grad_(), scattered(5, 4, seed=6)
    assert torch.autograd.gradcheck(lambda p: l2(cyclically_aligned(polygon_pairs(p, target))).loss, prediction)


def test_weights_divide_once():
    peer = CONTENT["weighted_mean"]
    rows = Rows(exact(peer["per_sample_unweighted"]), torch.ones(4, dtype=torch.bool))
    assert mean_loss(rows, exact(peer["weights"])).item() == pytest.approx(peer["true_weighted_mean"], rel=1e-12)
    assert mean_loss(rows, exact(peer["weights"])[:, None]).item() == mean_loss(rows, exact(peer["weights"])).item()


def test_a_batch_in_which_nothing_counts_has_loss_and_gradient_zero():
    loss = HybridPolygonLoss(terms=["l2", "oks", "log", "mgiou", "convexity"])
    prediction = scattered(3, 4, seed=0).requires_grad_()
    terms = loss(prediction, convex(3, 4, seed=1), mask=torch.zeros(3, 4))
    gradient = torch.autograd.grad(sum(terms.values()), prediction)[0]
    assert all(term.item() == 0.0 for term in terms.values())
    assert gradient.abs().max() == 0.0
    empty = loss(torch.zeros(0, 4, 2, requires_grad=True), torch.zeros(0, 4, 2))
    assert all(term.item() == 0.0 and term.requires_grad for term in empty.values())


def test_the_hybrid_is_its_terms():
    prediction, target = scattered(8, 5, seed=0), convex(8, 5, seed=1)
    mask, weight = torch.ones(8, 5), torch.arange(8.0)
    options = {"mask": mask, "area": torch.full((8,), 3.0), "weight": weight}
    loss = HybridPolygonLoss(terms=["convexity", "oks", "mgiou", "l2"], align="cyclic", falloff=2.0)
    terms = loss(prediction, target, **options)
    pairs = polygon_pairs(prediction, target, mask=mask, area=options["area"])
    aligned = cyclically_aligned(pairs)
    rows = {
        "convexity": nonconvexity(pairs),
        "oks": oks(aligned, falloff=2.0),
        "mgiou": mgiou(pairs),
        "l2": l2(aligned),
    }
    assert tuple(terms) == loss.terms == tuple(rows)
    assert {name: term.item() for name, term in terms.items()} == {
        name: mean_loss(of_term, weight).item() for name, of_term in rows.items()
    }
    with pytest.raises(ConfigError, match="no term is called 'iou'"):
        loss(prediction, target, only=["iou"])
    some = loss(prediction, target, **options, only={"mgiou", "l2"})
    assert {name: term.item() for name, term in some.items()} == {name: terms[name].item() for name in ("mgiou", "l2")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"terms": []}, "one or more names"),
        ({"terms": ["l2", "l2"]}, "one or more names, each once"),
        ({"terms": ["iou"]}, "terms"),
        ({"terms": ["l2"], "falloff": 2.0}, "there is no term oks"),
        ({"terms": ["mgiou"], "align": "cyclic"}, "none of the terms l2, oks and log is there"),
        ({"terms": ["oks"], "falloff": 0.0}, "falloff"),
        ({"align": "best"}, "align"),
    ],
)
def test_options_of_the_hybrid(options, message):
    with pytest.raises(ConfigError, match=message):
        HybridPolygonLoss(**options)


@pytest.mark.parametrize(
    ("prediction", "target", "options"),
    [
        ((3, 4, 2), (3, 5, 2), {}),
        ((3, 8), (3, 8), {}),
        ((3, 4, 3), (3, 4, 3), {}),
        ((3, 0, 2), (3, 0, 2), {}),
        ((3, 4, 2), (3, 4, 2), {"mask": torch.ones(4, 3)}),
        ((3, 4, 2), (3, 4, 2), {"area": torch.ones(4)}),
        ((3, 4, 2), (3, 4, 2), {"weight": torch.ones(2)}),
        ((3, 4, 2), (3, 4, 2), {"weight": torch.tensor([1.0, -1.0, 1.0])}),
    ],
)
def test_shapes_and_weights_that_do_not_fit(prediction, target, options):
    with pytest.raises(DataError):
        HybridPolygonLoss()(torch.zeros(prediction), torch.zeros(target), **options)
