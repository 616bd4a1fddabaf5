"""How sure an ensemble says it is: means of probabilities, and temperatures that fit them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from tuneoff.search.results.probabilities import (
    fitted_temperature,
    mean_log_probabilities,
    tempered,
)


def test_the_mean_is_weighted() -> None:
    rng = np.random.default_rng(0)
    logits = [rng.normal(0, 3, (5, 4)).astype(np.float32) for _ in range(3)]
    weights = (0.5, 0.5, 0.0)
    each = [softmax(one.astype(np.float64), axis=1) for one in logits]
    expected = sum(w * p for w, p in zip(weights, each, strict=True))
    assert np.exp(mean_log_probabilities(logits, weights)) == pytest.approx(expected)


def test_a_model_that_is_too_sure_is_cooled_down_to_its_accuracy() -> None:
    """Labels are drawn from softmax(z); a model that says 3 z is three times too sure."""
    rng = np.random.default_rng(0)
    true = rng.normal(0, 1.5, (4000, 5))
    labels = np.array([rng.choice(5, p=p) for p in softmax(true, axis=1)])
    sure = mean_log_probabilities([(3 * true).astype(np.float32)], (1.0,))
    temperature = fitted_temperature(sure, labels)
    assert temperature == pytest.approx(3, rel=0.1)
    calibrated = np.exp(tempered(sure, temperature))
    accuracy = float(np.mean(sure.argmax(axis=1) == labels))
    assert np.exp(sure).max(axis=1).mean() > accuracy + 0.1
    assert calibrated.max(axis=1).mean() == pytest.approx(accuracy, abs=0.02)


def test_the_order_of_classes_stays() -> None:
    logits = np.random.default_rng(0).normal(0, 2, (9, 6)).astype(np.float32)
    logs = mean_log_probabilities([logits], (1.0,))
    for temperature in (0.02, 0.5, 3.0, 50.0):
        cooled = np.exp(tempered(logs, temperature))
        assert (cooled.argmax(axis=1) == logits.argmax(axis=1)).all()
        assert cooled.sum(axis=1) == pytest.approx(np.ones(9))


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("right", [True, False])
def test_few_images_and_extreme_outputs_give_finite_numbers(scale: float, right: bool) -> None:
    logits = (np.eye(3) * scale).astype(np.float32)
    labels = np.arange(3) if right else np.array([1, 2, 0])
    logs = mean_log_probabilities([logits], (1.0,))
    temperature = fitted_temperature(logs, labels)
    assert np.exp(-4) <= temperature <= np.exp(4)
    assert np.isfinite(np.exp(tempered(logs, temperature))).all()


def test_a_validation_split_without_errors_does_not_make_it_certain() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 20)
    logits = (2 * np.eye(3)[labels]).astype(np.float32)
    temperature = fitted_temperature(mean_log_probabilities([logits], (1.0,)), labels)
    assert 0.2 < temperature < 1
