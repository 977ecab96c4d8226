"""The likelihood in its logits: derivatives by finite differences, tails by exact arithmetic."""

from fractions import Fraction
from math import exp, log1p

import numpy as np
import pytest
from problems import probabilities

from sknatgrad._model import categorical
from sknatgrad._model.categorical import predict
from sknatgrad._model.expectations import SampledExpectation, label_scores
from sknatgrad._model.score_covariance import complement

LOGITS = [1, 4]


def random_logits(n_logits, n_rows=30, seed=0):
    rng = np.random.default_rng(seed)
    n_classes = max(n_logits, 2)
    return 3 * rng.normal(size=(n_rows, n_logits)), rng.integers(0, n_classes, n_rows)


def pairs_of(scores):
    """E[r rᵀ] of each row in full, (q, q, m), from its diagonal and its off-diagonal part."""
    sign, outer = scores.outer()
    pairs = sign * np.einsum("mk,ml->klm", outer, outer)
    k = np.arange(outer.shape[1])
    pairs[k, k] = scores.diagonal().T
    return pairs


def loss(logits, codes):
    return predict(logits).loss_and_residual(codes)[0]


@pytest.mark.parametrize("n_logits", LOGITS)
def test_loss_is_minus_log_probability(n_logits):
    logits, codes = random_logits(n_logits)
    expected = -np.log(probabilities(logits)[np.arange(len(codes)), codes])
    np.testing.assert_allclose(loss(logits, codes), expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("n_logits", LOGITS)
def test_residual_is_derivative_of_loss(n_logits):
    logits, codes = random_logits(n_logits)
    step = 1e-6
    for k in range(n_logits):
        move = np.zeros(n_logits)
        move[k] = step
        slope = (loss(logits + move, codes) - loss(logits - move, codes)) / (2 * step)
        np.testing.assert_allclose(predict(logits).loss_and_residual(codes)[1][:, k], slope, atol=1e-9)


@pytest.mark.parametrize("n_logits", LOGITS)
def test_model_scores_are_derivative_of_residual(n_logits):
    """With canonical logits the expected outer product is the second derivative, whatever the label."""
    logits, codes = random_logits(n_logits)
    pairs = pairs_of(predict(logits).scores())
    step = 1e-6
    for k in range(n_logits):
        move = np.zeros(n_logits)
        move[k] = step
        slope = (
            predict(logits + move).loss_and_residual(codes)[1] - predict(logits - move).loss_and_residual(codes)[1]
        ) / (2 * step)
        for l in range(n_logits):
            np.testing.assert_allclose(pairs[k, l], slope[:, l], atol=1e-9)


@pytest.mark.parametrize("n_logits", LOGITS)
@pytest.mark.parametrize("kind", ["model", "label"])
def test_views_of_scores_agree(n_logits, kind):
    logits, codes = random_logits(n_logits)
    prediction = predict(logits)
    scores = prediction.scores() if kind == "model" else label_scores(prediction, codes)
    pairs = pairs_of(scores)
    if kind == "label":
        residual = prediction.loss_and_residual(codes)[1]
        np.testing.assert_allclose(pairs, np.einsum("mk,ml->klm", residual, residual), rtol=1e-14)
    weight = np.random.default_rng(1).uniform(size=len(codes))
    move = np.random.default_rng(2).normal(size=logits.shape)
    np.testing.assert_allclose(scores.diagonal(), np.einsum("kkm->mk", pairs), rtol=1e-14)
    np.testing.assert_allclose(scores.total(weight), pairs @ weight, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(scores.apply(move), np.einsum("klm,ml->mk", pairs, move), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("logit", [30.0, 40.0, 300.0, 700.0])
@pytest.mark.parametrize("n_logits", LOGITS)
def test_small_quantities_keep_their_relative_accuracy(logit, n_logits):
    """Loss, residual and variance of a row that is fitted well are about exp(-logit): never 0, never rounded near 1."""
    logits = np.zeros((1, n_logits))
    logits[0, -1] = logit
    code = np.array([max(n_logits, 2) - 1])
    others = max(n_logits - 1, 1) * exp(-logit)
    prediction = predict(logits)
    assert prediction.loss_and_residual(code)[0][0] == pytest.approx(log1p(others), rel=1e-13, abs=0)
    assert prediction.loss_and_residual(code)[1][0, -1] == pytest.approx(-others / (1 + others), rel=1e-13, abs=0)
    wrong = (
        categorical.probabilities(logits)[0, 0]
        if n_logits == 1
        else complement(prediction.proba, prediction.others)[0, -1]
    )
    assert wrong == pytest.approx(others / (1 + others), rel=1e-13, abs=0)
    variance = prediction.scores().diagonal()[0, -1]
    assert variance == pytest.approx(others / (1 + others) ** 2, rel=1e-13, abs=0)


def test_residual_sums_to_zero_over_classes():
    logits, codes = random_logits(4)
    assert abs(predict(40 * logits).loss_and_residual(codes)[1].sum(axis=1)).max() < 4 * np.finfo(float).eps


@pytest.mark.parametrize("n_classes", [2, 3, 10, 1000])
def test_rows_sum_to_one_within_four_eps(n_classes):
    rng = np.random.default_rng(0)
    n_logits = 1 if n_classes == 2 else n_classes
    for scale in [1e-3, 1.0, 30.0, 1e4, 1e300]:
        proba = categorical.probabilities(scale * rng.normal(size=(200, n_logits)))
        # the sum itself must not add rounding: exact fractions
        off = [abs(float(sum(map(Fraction, row.tolist())) - 1)) for row in proba]
        assert max(off) <= 4 * np.finfo(float).eps


@pytest.mark.parametrize("n_logits", LOGITS)
@pytest.mark.parametrize("size", [1e2, 1e4, 1e300, np.finfo(float).max])
def test_log_probability_is_finite_for_finite_logits(n_logits, size):
    logits = np.vstack([np.full((1, n_logits), -size), np.full((1, n_logits), size)])
    logits[:, 0] *= -1
    log_proba = predict(logits).log_proba()
    assert np.isfinite(log_proba).all()
    assert (log_proba <= 0).all()
    assert log_proba.min() <= -size * (1 - 1e-12)


def test_drawn_labels_depend_on_the_row_not_on_the_block():
    whole = SampledExpectation(3)._uniform(0, 1000)
    pieces = [SampledExpectation(3)._uniform(start, stop - start) for start, stop in [(0, 7), (7, 500), (500, 1000)]]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    assert abs(whole.mean() - 0.5) < 0.05
    assert not np.array_equal(whole, SampledExpectation(4)._uniform(0, 1000))


@pytest.mark.parametrize("n_logits", LOGITS)
def test_drawn_labels_follow_the_model(n_logits):
    n_rows = 200_000
    logits = np.tile(np.array([[0.7, -0.4, 1.1, 0.0][:n_logits]]), (n_rows, 1))
    prediction = predict(logits)
    labels = SampledExpectation(0).labels(prediction, 0)
    shares = np.bincount(labels, minlength=max(n_logits, 2)) / n_rows
    expected = prediction.proba[0] if n_logits > 1 else [1 - prediction.proba[0, 0], prediction.proba[0, 0]]
    # five standard errors
    np.testing.assert_allclose(shares, expected, atol=5 * 0.5 / np.sqrt(n_rows))


@pytest.mark.parametrize("n_logits", [1, 4])
@pytest.mark.parametrize("expectation", ["true", "empirical"])
def test_float32_scores_are_the_same_in_single_precision(n_logits, expectation):
    rng = np.random.default_rng(0)
    prediction = predict(np.asfortranarray(rng.normal(scale=30.0, size=(50, n_logits))))
    scores = prediction.scores() if expectation == "true" else label_scores(prediction, np.arange(50) % 2)
    rounded, move = scores.as_float32(), rng.normal(size=(50, n_logits))
    applied = rounded.apply(move.astype(np.float32))
    assert applied.dtype == np.float32
    np.testing.assert_allclose(applied, scores.apply(move), rtol=1e-5, atol=1e-6)
    # no subnormal numbers, which slow arithmetic down
    stored = rounded.outer()[1]
    assert not ((stored != 0) & (abs(stored) < np.finfo(np.float32).tiny)).any()


@pytest.mark.parametrize("logit", [708.0, 709.0, 710.0, 740.0, 800.0, 1e300])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_two_classes_where_the_odds_overflow(logit, sign):
    logits, codes = np.array([[sign * logit], [0.3]]), np.array([0, 1])
    prediction = predict(logits)
    losses, residual = prediction.loss_and_residual(codes)
    rare = exp(-logit)
    # of class 0: probable where the sign is negative
    assert losses[0] == pytest.approx(rare if sign < 0 else logit, rel=1e-13, abs=1e-307)
    assert residual[0, 0] == pytest.approx(rare if sign < 0 else 1.0, rel=1e-13, abs=1e-307)
    for scores in (prediction.scores(), predict(logits).scores()):
        np.testing.assert_allclose(scores.diagonal()[0], rare, rtol=1e-12, atol=1e-307)
    assert prediction.proba[0, 0] == pytest.approx(1.0 if sign > 0 else rare, rel=1e-13, abs=1e-307)
    # a row beside it is not touched
    assert losses[1] == pytest.approx(log1p(exp(-0.3)), rel=1e-14)
    assert prediction.scores().diagonal()[1, 0] == pytest.approx(exp(-0.3) / (1 + exp(-0.3)) ** 2, rel=1e-14)


def test_scores_are_the_same_before_and_after_the_loss():
    logits, codes = random_logits(1, n_rows=500)
    first, second = predict(logits), predict(logits)
    before, _ = first.scores().diagonal(), first.loss_and_residual(codes)
    second.loss_and_residual(codes)
    np.testing.assert_allclose(second.scores().diagonal(), before, rtol=4 * np.finfo(float).eps)
    np.testing.assert_array_equal(first.logits, logits)


@pytest.mark.filterwarnings("error")
def test_a_logit_that_is_not_a_number_does_not_reach_other_rows():
    logits, codes = np.array([[np.nan], [800.0], [-800.0], [0.3]]), np.array([0, 0, 1, 1])
    for prediction in (predict(logits), predict(logits[1:])):
        rows = slice(-3, None)
        losses, residual = prediction.loss_and_residual(codes[-len(prediction.logits) :])
        np.testing.assert_allclose(losses[rows], [800.0, 800.0, log1p(exp(-0.3))], rtol=1e-14)
        np.testing.assert_allclose(residual[rows, 0], [1.0, -1.0, -1 / (1 + exp(0.3))], rtol=1e-14)
        assert np.isfinite(prediction.scores().diagonal()[rows]).all()
