"""Coverage of confidence intervals by simulation: ``python -m benchmarks.coverage``.

Each scenario has 500 rows, 5 columns and 2,000 repetitions. The table gives the proportion of 95 % intervals that
contain the true coefficient: over all coefficients, and for the coefficients with the lowest and the highest coverage.
The coverage of one coefficient has a standard error of 0.5 %.
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
    """One data set, with the true coefficients."""

    X: Any
    y: Any
    truth: Any  # (K - 1, p + 1), the contrasts against class 0, intercept last
    weight: Any = None
    groups: Any = None


class Scenario(NamedTuple):
    """A way to simulate data, the penalty of the fit, and the intervals to compute."""

    name: str
    draw: Any  # (random, n_classes) -> Sample
    intervals: dict[str, dict[str, str]]  # arguments of `infer` by label
    C: float = np.inf


def _model(random, n_classes, n_rows, spread=0.5):
    """Return rows, labels and the coefficients of all classes but class 0, whose coefficients are 0."""
    X = random.normal(size=(n_rows, N_FEATURES))
    theta = np.zeros((n_classes, N_FEATURES + 1))
    theta[1:] = spread * np.random.default_rng(1).normal(size=(n_classes - 1, N_FEATURES + 1))
    return X, _labels(random, X, theta), theta[1:]


def _labels(random, X, theta):
    logits = X @ theta[:, :-1].T + theta[:, -1]
    return (logits + random.gumbel(size=logits.shape)).argmax(axis=1)


def plain(random, n_classes):
    """Draw independent rows from the model."""
    return Sample(*_model(random, n_classes, N_ROWS))


def counted(random, n_classes):
    """Draw rows from a few patterns and count equal rows: the weights are frequencies."""
    patterns = np.random.default_rng(2).normal(size=(60, N_FEATURES))
    X = patterns[random.integers(0, len(patterns), size=N_ROWS)]
    theta = np.vstack([np.zeros(N_FEATURES + 1), _model(random, n_classes, 1)[2]])
    rows, counts = np.unique(np.column_stack([X, _labels(random, X, theta)]), axis=0, return_counts=True)
    return Sample(rows[:, :-1], rows[:, -1].astype(int), theta[1:], counts.astype(float))


def sampled(random, n_classes):
    """Keep rows of class 0 with probability 1/3 and weight them by 3: the weights are not frequencies."""
    X, y, truth = _model(random, n_classes, 2 * N_ROWS)
    probability = np.where(y == 0, 1 / 3, 1.0)
    kept = np.flatnonzero(random.uniform(size=y.size) < probability)[:N_ROWS]
    return Sample(X[kept], y[kept], truth, 1.0 / probability[kept])


def uneven(random, n_classes):
    """Draw weights at random, independent of the number of observations, with mean 1 and variance 1/2."""
    X, y, truth = _model(random, n_classes, N_ROWS)
    return Sample(X, y, truth, random.gamma(2.0, 0.5, size=N_ROWS))


def repeated(random, n_classes):
    """Repeat each row four times by mistake; the four copies are a group."""
    X, y, truth = _model(random, n_classes, N_ROWS)
    groups = np.repeat(np.arange(N_ROWS), 4)
    return Sample(X[groups], y[groups], truth, None, groups)


def drawn_from_the_prior(random, n_classes):
    """Draw new coefficients for each data set from the prior of the penalty at C = 1, with an intercept of 0."""
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
    """Return the coverage of each coefficient by each kind of interval, ``(K - 1, p + 1)``."""
    random = np.random.default_rng(seed)
    counts = dict.fromkeys(scenario.intervals, 0.0)
    for _ in range(repetitions):
        sample = scenario.draw(random, n_classes)
        model = NaturalGradientLogisticRegression(C=scenario.C)
        model.fit(sample.X, sample.y, sample_weight=sample.weight)
        for label, keywords in scenario.intervals.items():
            groups = sample.groups if keywords["covariance"] == "cluster" else None
            result = infer(model, sample.X, sample.y, sample_weight=sample.weight, groups=groups, **keywords)
            ends = result.conf_int()
            counts[label] = counts[label] + ((ends[..., 0] <= sample.truth) & (sample.truth <= ends[..., 1]))
    return {label: count / repetitions for label, count in counts.items()}


def covered_probabilities(n_classes, repetitions, seed=0):
    """Return the coverage of the probabilities of each class in 20 new rows, ``(20, K)``."""
    random, new = np.random.default_rng(seed), np.random.default_rng(3).normal(size=(20, N_FEATURES))
    counts = 0.0
    for _ in range(repetitions):
        sample = plain(random, n_classes)
        model = NaturalGradientLogisticRegression(C=np.inf, store_covariance=True).fit(sample.X, sample.y)
        odds = np.exp(np.column_stack([np.zeros(20), new @ sample.truth[:, :-1].T + sample.truth[:, -1]]))
        truth, ends = odds / odds.sum(axis=1, keepdims=True), model.predict_proba_interval(new)
        counts = counts + ((ends[..., 0] <= truth) & (truth <= ends[..., 1]))
    return counts / repetitions


def _print_row(name, n_classes, label, coverage):
    numbers = " | ".join(f"{100 * value:.1f} %" for value in (coverage.mean(), coverage.min(), coverage.max()))
    print(f"| {name} | {n_classes} | `{label}` | {numbers} |", flush=True)


def main():
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2000, help="repetitions of each scenario (default: 2,000)")
    repetitions = parser.parse_args().repetitions
    warnings.simplefilter("error")
    print("| data | classes | interval | coverage | lowest | highest |\n|---|---|---|---|---|---|", flush=True)
    for scenario in SCENARIOS:
        for n_classes in (2, 3):
            for label, coverage in covered(scenario, n_classes, repetitions).items():
                # the prior does not include the intercept
                shown = coverage if np.isinf(scenario.C) else coverage[:, :-1]
                _print_row(scenario.name, n_classes, label, shown)
    for n_classes in (2, 3):
        coverage = covered_probabilities(n_classes, repetitions)
        _print_row("independent rows", n_classes, "predict_proba_interval", coverage)


if __name__ == "__main__":
    main()
