import numpy as np
import pytest
from scipy.spatial.distance import cdist

from stepsynth.errors import DataError
from stepsynth.metrics import coverage as metric
from stepsynth.metrics.coverage import covered_share, nearest_distances
from stepsynth.studies import studies
from tests.subjects import TOPICS, make_subject, texts_about


def test_nearest_distances_equal_those_of_scipy_over_many_blocks(monkeypatch):
    monkeypatch.setattr(metric, "_CELLS", 200)
    rng = np.random.default_rng(0)
    points, others = rng.normal(size=(57, 6)), rng.normal(size=(31, 6))
    expected = cdist(points, others).min(axis=1)
    assert nearest_distances(points, others) == pytest.approx(expected, abs=1e-5)
    alone = cdist(points, points)
    np.fill_diagonal(alone, np.inf)
    assert nearest_distances(points) == pytest.approx(alone.min(axis=1), abs=1e-5)


def test_a_point_on_another_is_at_no_distance_but_not_at_itself():
    points = np.array([[0.6, 0.8], [0.6, 0.8], [1.0, 0.0]])
    assert nearest_distances(points)[:2].tolist() == [0.0, 0.0]
    assert nearest_distances(points)[2] > 0.5


def test_covered_share_counts_points_on_the_edge():
    assert covered_share(np.array([0.1, 0.2, 0.3, 0.9]), 0.2) == 0.5


def column(table, name):
    return [row[table.columns.index(name)] for row in table.rows]


# A map of t-SNE is another one with another CPU's arithmetic.
@pytest.mark.parametrize(("paper", "most"), [(False, 0.7), (True, 0.85)], ids=["encoder", "t-SNE"])
def test_rows_on_one_topic_of_two_cover_half_of_what_rows_on_both_do(paper, most):
    one = make_subject("one", texts_about(TOPICS[:1], 120, seed=1))
    both = make_subject("both", texts_about(TOPICS, 120, seed=2))
    findings = studies().get("coverage")(paper=paper).run([one, both])
    covered = column(findings.tables[0], "covered")
    assert covered[0] < most * covered[1]
    radius = column(findings.tables[0], "radius")
    assert radius[0] == radius[1] > 0
    assert len(findings.charts) == 1


def test_gold_like_rows_cover_as_much_as_gold_itself():
    found = (
        studies().get("coverage")().run([make_subject("both", texts_about(TOPICS, 200, seed=3))])
    )
    table = found.tables[0]
    like = column(table, "by as many")[0] - column(table, "by gold itself")[0]
    assert abs(like) < 0.2
    assert column(table, "covered")[0] >= column(table, "by as many")[0]


def test_too_little_gold_is_an_error():
    subject = make_subject("few", texts_about(TOPICS, 30, seed=4), gold_rows=20)
    with pytest.raises(DataError, match="40 different gold rows"):
        studies().get("coverage")().run([subject])
