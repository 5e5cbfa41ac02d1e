"""HybridPolygonLoss as a loss of a run: the terms of its tasks by name."""

import pytest
import torch

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError, DataError
from coral_mtl.losses.composite import CompositeHierarchical
from coral_mtl.losses.polygon import HybridPolygonLoss, PolygonTerms

OUTLINE = {"outline": TaskSpec("polygon", 5)}


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple({"outline": torch.rand(7, 5, 2, generator=generator, dtype=torch.float64)} for _ in range(2))


def test_terms_are_those_of_the_polygons():
    prediction, target = batch()
    options = {"terms": ["oks", "mgiou", "convexity"], "align": "cyclic", "falloff": 0.5}
    loss = PolygonTerms(OUTLINE, **options)
    found = loss(prediction, target)
    expected = HybridPolygonLoss(**options)(prediction["outline"], target["outline"])
    assert loss.terms == tuple(found) == ("oks", "mgiou", "convexity")
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert loss.terms_by_task == {"outline": ("oks", "mgiou", "convexity")}


def test_terms_that_nobody_wants_are_not_evaluated():
    prediction, target = batch()
    loss = PolygonTerms(OUTLINE)
    assert tuple(loss(prediction, target, only=["mgiou"])) == ("mgiou",)
    assert loss(prediction, target, only=[]) == {}


def test_terms_of_several_tasks_have_the_names_of_both():
    (prediction, target), (other, other_target) = batch(), batch(1)
    tasks = {"coral": TaskSpec("polygon", 5), "fish": TaskSpec("polygon", 5)}
    loss = PolygonTerms(tasks)
    assert loss.terms == ("coral_l2", "coral_mgiou", "fish_l2", "fish_mgiou")
    found = loss(
        {"coral": prediction["outline"], "fish": other["outline"]},
        {"coral": target["outline"], "fish": other_target["outline"]},
        only=["fish_l2", "coral_mgiou"],
    )
    assert found["fish_l2"] == PolygonTerms(OUTLINE)(other, other_target)["l2"]
    assert set(found) == {"coral_mgiou", "fish_l2"}
    assert set(loss({"fish": other["outline"]}, {"fish": other_target["outline"]})) == {"fish_l2", "fish_mgiou"}


def test_options_without_an_effect():
    with pytest.raises(ConfigError, match="falloff has no effect: there is no term oks"):
        PolygonTerms(OUTLINE, falloff=1.0)
    with pytest.raises(ConfigError, match="align has no effect"):
        PolygonTerms(OUTLINE, terms=["mgiou"], align="none")


def test_tasks_of_another_kind_are_refused():
    with pytest.raises(ConfigError, match="kind polygon, and left is a classification"):
        PolygonTerms({**OUTLINE, "left": TaskSpec("classification", 10)})
    with pytest.raises(ConfigError, match=r"outline is a polygon\n.*HybridPolygonLoss"):
        CompositeHierarchical(OUTLINE)
    with pytest.raises(DataError, match="nothing for the task 'outline'"):
        PolygonTerms(OUTLINE)({}, batch()[1])
