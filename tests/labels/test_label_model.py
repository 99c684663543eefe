"""The label model finds the accuracies of simulated labellers."""

import numpy as np
import pytest

from tapewatch.labels.label_model import ABSTAIN, LabelModel, fit

SENSITIVITY = np.array([0.9, 0.75, 0.6, 0.8])
SPECIFICITY = np.array([0.95, 0.98, 0.9, 0.85])


def simulated(units: int, prior: float, abstains: float, seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random(units) < prior
    fires = np.where(truth[:, None], SENSITIVITY, 1 - SPECIFICITY)
    votes = (rng.random((units, 4)) < fires).astype(np.int8)
    votes[rng.random((units, 4)) < abstains] = ABSTAIN
    return votes, truth


@pytest.mark.parametrize(("prior", "abstains"), [(0.3, 0.0), (0.1, 0.2)])
def test_accuracies_are_found_without_the_truth(prior: float, abstains: float) -> None:
    votes, truth = simulated(40_000, prior, abstains)
    model = fit(votes)
    assert model.prior == pytest.approx(prior, abs=0.02)
    assert model.sensitivity == pytest.approx(SENSITIVITY, abs=0.04)
    assert model.specificity == pytest.approx(SPECIFICITY, abs=0.01)
    verdict = model.probability(votes) >= 0.5
    majority = (votes == 1).sum(axis=1) > (votes == 0).sum(axis=1)
    assert (verdict == truth).mean() > (majority == truth).mean(), "better than counting votes"


def test_probabilities_mean_what_they_say() -> None:
    votes, truth = simulated(40_000, 0.2, 0.1)
    probability = fit(votes).probability(votes)
    for low in (0.05, 0.3, 0.6, 0.9):
        chosen = (probability >= low) & (probability < low + 0.1)
        if chosen.sum() > 800:
            assert truth[chosen].mean() == pytest.approx(probability[chosen].mean(), abs=0.06)


def test_bayes_by_hand() -> None:
    model = LabelModel(0.5, np.array([0.8, 0.6]), np.array([0.9, 0.7]))
    votes = np.array([[1, 1], [1, 0], [ABSTAIN, ABSTAIN], [0, ABSTAIN]], dtype=np.int8)
    assert model.probability(votes) == pytest.approx([0.48 / 0.51, 0.32 / 0.39, 0.5, 0.2 / 1.1])


def test_sources_that_never_fire_leave_a_finite_model() -> None:
    model = fit(np.zeros((50, 3), dtype=np.int8))
    found = model.probability(np.array([[0, 0, 0], [1, 1, 1]], dtype=np.int8))
    assert np.isfinite(found).all()
    assert found[0] < 0.1


def test_votes_of_other_values_are_refused() -> None:
    for votes in (np.full((2, 2), 3), np.zeros((0, 2)), np.zeros(3)):
        with pytest.raises(ValueError, match="votes are a table"):
            fit(votes.astype(np.int8))
