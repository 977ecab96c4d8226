"""How often intervals hold the truth, by simulation: ``python -m benchmarks.coverage``.

500 rows, 5 columns, 2,000 repetitions of each scenario: the share of 95 % intervals that hold the coefficient which
made the data, over all coefficients and for the least and the most often covered one. One coefficient's share has a
standard error of 0.5 %.
"""

import argparse
import warnings
from typing import Any, NamedTuple

import numpy as np

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad.inference import infer

N_ROWS = 500
N_FEATURES = 5


class Sample(NamedTuple):
    """One data set, and what made it."""

    X: Any
    y: Any
    truth: Any  # (K - 1, p + 1), the contrasts against class 0, intercept last
    weight: Any = None
    groups: Any = None


class Scenario(NamedTuple):
    """How data are made, how they are fitted, and which intervals are asked for."""

    name: str
    draw: Any  # (random, n_classes) -> Sample
    asked: dict[str, dict[str, str]]  # keywords of `infer` by label
    C: float = np.inf


def _model(random, n_classes, n_rows, spread=0.5):
    """Return rows, labels and the coefficients of all classes; class 0 has none."""
    X = random.normal(size=(n_rows, N_FEATURES))
    theta = np.zeros((n_classes, N_FEATURES + 1))
    theta[1:] = spread * np.random.default_rng(1).normal(size=(n_classes - 1, N_FEATURES + 1))
    return X, _labels(random, X, theta), theta[1:]


def _labels(random, X, theta):
    logits = X @ theta[:, :-1].T + theta[:, -1]
    return (logits + random.gumbel(size=logits.shape)).argmax(axis=1)


def plain(random, n_classes):
    """Draw independent rows of the model."""
    return Sample(*_model(random, n_classes, N_ROWS))


def counted(random, n_classes):
    """Take the same from a few patterns, equal rows counted: weights that are frequencies."""
    patterns = np.random.default_rng(2).normal(size=(60, N_FEATURES))
    X = patterns[random.integers(0, len(patterns), size=N_ROWS)]
    theta = np.vstack([np.zeros(N_FEATURES + 1), _model(random, n_classes, 1)[2]])
    rows, counts = np.unique(np.column_stack([X, _labels(random, X, theta)]), axis=0, return_counts=True)
    return Sample(rows[:, :-1], rows[:, -1].astype(int), theta[1:], counts.astype(float))


def sampled(random, n_classes):
    """Keep rows of class 0 with a chance of 1 in 3, weighted by 3: no frequencies."""
    X, y, truth = _model(random, n_classes, 2 * N_ROWS)
    chance = np.where(y == 0, 1 / 3, 1.0)
    kept = np.flatnonzero(random.uniform(size=y.size) < chance)[:N_ROWS]
    return Sample(X[kept], y[kept], truth, 1.0 / chance[kept])


def uneven(random, n_classes):
    """Draw weights that have nothing to do with how much was observed; their mean is 1, their variance a half."""
    X, y, truth = _model(random, n_classes, N_ROWS)
    return Sample(X, y, truth, random.gamma(2.0, 0.5, size=N_ROWS))


def repeated(random, n_classes):
    """Take each row four times, by mistake; the four are a group."""
    X, y, truth = _model(random, n_classes, N_ROWS)
    groups = np.repeat(np.arange(N_ROWS), 4)
    return Sample(X[groups], y[groups], truth, None, groups)


def drawn_from_the_prior(random, n_classes):
    """Draw coefficients from the prior that the penalty is (C = 1), anew each time; an intercept of 0."""
    X = random.normal(size=(N_ROWS, N_FEATURES))
    theta = np.column_stack([random.normal(size=(max(n_classes, 2), N_FEATURES)), np.zeros(max(n_classes, 2))])
    if n_classes == 2:
        theta[0] = 0.0
    return Sample(X, _labels(random, X, theta), theta[1:] - theta[0])


FISHER = {"covariance": "fisher"}
ROBUST = {"covariance": "robust", "weights": "sampling"}
HC1 = {"covariance": "HC1", "weights": "sampling"}
SCENARIOS = [
    Scenario("independent rows", plain, {"fisher": FISHER, "robust": {"covariance": "robust"}}),
    Scenario("frequencies", counted, {"fisher": FISHER, "robust": {"covariance": "robust"}}),
    Scenario("classes sampled unevenly", sampled, {"fisher": FISHER, "robust, sampling": ROBUST, "HC1, sampling": HC1}),
    Scenario("weights of no meaning", uneven, {"fisher": FISHER, "robust, sampling": ROBUST, "HC1, sampling": HC1}),
    Scenario("rows four times", repeated, {"fisher": FISHER, "cluster": {"covariance": "cluster"}}),
    Scenario(
        "coefficients from the prior",
        drawn_from_the_prior,
        {"fisher": FISHER, "frequentist": {"covariance": "frequentist"}},
        1.0,
    ),
]


def covered(scenario, n_classes, repetitions, seed=0):
    """Return, for each kind of interval, the share of repetitions that hold each coefficient, ``(K - 1, p + 1)``."""
    random = np.random.default_rng(seed)
    held = dict.fromkeys(scenario.asked, 0.0)
    for _ in range(repetitions):
        sample = scenario.draw(random, n_classes)
        model = NaturalGradientLogisticRegression(C=scenario.C)
        model.fit(sample.X, sample.y, sample_weight=sample.weight)
        for label, keywords in scenario.asked.items():
            groups = sample.groups if keywords["covariance"] == "cluster" else None
            result = infer(model, sample.X, sample.y, sample_weight=sample.weight, groups=groups, **keywords)
            ends = result.conf_int()
            held[label] = held[label] + ((ends[..., 0] <= sample.truth) & (sample.truth <= ends[..., 1]))
    return {label: count / repetitions for label, count in held.items()}


def covered_probabilities(n_classes, repetitions, seed=0):
    """Return the share of intervals that hold the probability of each class, ``(20, K)``, of 20 rows."""
    random, new = np.random.default_rng(seed), np.random.default_rng(3).normal(size=(20, N_FEATURES))
    held = 0.0
    for _ in range(repetitions):
        sample = plain(random, n_classes)
        model = NaturalGradientLogisticRegression(C=np.inf, store_covariance=True).fit(sample.X, sample.y)
        odds = np.exp(np.column_stack([np.zeros(20), new @ sample.truth[:, :-1].T + sample.truth[:, -1]]))
        truth, ends = odds / odds.sum(axis=1, keepdims=True), model.predict_proba_interval(new)
        held = held + ((ends[..., 0] <= truth) & (truth <= ends[..., 1]))
    return held / repetitions


def _line(name, n_classes, label, shares):
    numbers = " | ".join(f"{100 * share:.1f} %" for share in (shares.mean(), shares.min(), shares.max()))
    print(f"| {name} | {n_classes} | `{label}` | {numbers} |", flush=True)


def main():
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2000, help="of each scenario (default: 2,000)")
    repetitions = parser.parse_args().repetitions
    warnings.simplefilter("error")
    print("| data | classes | interval | covered | least | most |\n|---|---|---|---|---|---|", flush=True)
    for scenario in SCENARIOS:
        for n_classes in (2, 3):
            for label, shares in covered(scenario, n_classes, repetitions).items():
                # an intercept has no prior
                shown = shares if np.isinf(scenario.C) else shares[:, :-1]
                _line(scenario.name, n_classes, label, shown)
    for n_classes in (2, 3):
        _line("independent rows", n_classes, "predict_proba_interval", covered_probabilities(n_classes, repetitions))


if __name__ == "__main__":
    main()
