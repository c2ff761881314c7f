import numpy as np
import pytest

from stepsynth.metrics.mauve import area_under_divergences, fill_buckets
from stepsynth.metrics.mauve import mauve as our_mauve

reference = pytest.importorskip("mauve").compute_mauve


def made_clusters(weights, n, seed):
    """Return points in far-apart clusters, so that every k-means finds the same ones."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(len(weights), 12))
    which = np.repeat(np.arange(len(weights)), np.round(np.array(weights) * n).astype(int))
    return (centres[which] + rng.normal(scale=0.01, size=(len(which), 12))).astype(np.float32)


@pytest.mark.parametrize("scale", [1.0, 5.0])
@pytest.mark.parametrize(
    "weights",
    [(0.3, 0.2, 0.25, 0.25), (0.7, 0.1, 0.1, 0.1), (0.5, 0.5, 0, 0), (0.6, 0.4, 0, 0)],
    ids=["like gold", "skewed", "half is missing", "half is missing, the rest skewed"],
)
def test_mauve_equals_mauve_text_on_the_same_features(weights, scale):
    p = made_clusters(weights, 200, seed=1)
    q = made_clusters((0.25, 0.25, 0.25, 0.25), 200, seed=2)
    theirs = reference(
        p_features=p, q_features=q, num_buckets=4, mauve_scaling_factor=int(scale), seed=1
    )
    ours = our_mauve(p, q, buckets=4, scale=scale, random_seed=0)
    assert ours == pytest.approx(theirs.mauve, abs=1e-9)


def test_the_area_equals_mauve_texts_for_its_own_buckets():
    # Overlapping features: k-means may end elsewhere, so its buckets are taken as they are.
    rng = np.random.default_rng(3)
    p, q = rng.normal(size=(300, 10)), rng.normal(0.4, 1.2, size=(300, 10))
    theirs = reference(p_features=p, q_features=q, num_buckets=20, mauve_scaling_factor=3)
    ours = area_under_divergences(theirs.p_hist, theirs.q_hist, scale=3)
    assert ours == pytest.approx(theirs.mauve, abs=1e-9)


# Here mauve-text says 0.75: its curve has several points at x = 1, which it takes in any order.
def test_equal_distributions_have_mauve_one_and_disjoint_ones_almost_none():
    same = np.array([0.2, 0.3, 0.5])
    assert area_under_divergences(same, same, scale=5) == pytest.approx(1.0)
    apart = area_under_divergences(np.array([1.0, 0.0]), np.array([0.0, 1.0]), scale=5)
    assert apart < 0.01


def test_buckets_are_shares():
    rng = np.random.default_rng(5)
    p, q = fill_buckets(
        rng.normal(size=(50, 6)), rng.normal(size=(70, 6)), buckets=5, random_seed=0
    )
    assert p.sum() == pytest.approx(1)
    assert q.sum() == pytest.approx(1)
