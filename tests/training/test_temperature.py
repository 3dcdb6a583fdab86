"""The temperature is the one that a network was spoilt by, and that a plain search over a grid finds."""

import numpy as np
import pytest

from convcraft.training import fit_temperature
from convcraft.training.temperature import softened


def softmax(logits):
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def drawn(n=4000, seed=0):
    """Logits of an honest network: labels are drawn by its probabilities."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, 4))
    labels = np.array([rng.choice(4, p=row) for row in softmax(logits)])
    return logits, labels


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_finds_what_the_logits_were_multiplied_by(factor):
    logits, labels = drawn()
    found = fit_temperature(labels, softmax(factor * logits).astype("float32"))
    assert found == pytest.approx(factor, rel=0.06)
    grid = np.exp(np.linspace(np.log(0.1), np.log(10), 2001))
    losses = [-np.log(softmax(factor * logits / t)[np.arange(len(labels)), labels]).mean() for t in grid[::10]]
    assert found == pytest.approx(grid[::10][int(np.argmin(losses))], rel=0.03)


def test_softened_is_the_softmax_of_divided_logits():
    logits, _ = drawn(50)
    np.testing.assert_allclose(softened(softmax(logits), 2.5), softmax(logits / 2.5), rtol=1e-9)


def test_no_temperature_where_none_is_best():
    sure = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert fit_temperature(np.array([0, 1]), sure) is None
    assert fit_temperature(np.array([1, 0]), sure) is None
    assert fit_temperature(np.array([0, 0]), np.array([[np.nan, 1], [0.2, 0.8]])) is None


@pytest.mark.parametrize(("labels", "shape"), [([0, 1], (3, 2)), ([0], (1,)), ([], (0, 2))])
def test_arrays_that_do_not_fit(labels, shape):
    with pytest.raises(ValueError, match="expected labels .* received shapes"):
        fit_temperature(np.array(labels), np.zeros(shape))
