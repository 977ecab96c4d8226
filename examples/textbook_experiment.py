"""The textbook experiment: five steps of vanilla and of natural gradient descent, a hundred times over.

Two Gaussian clouds, at (-1, -1) and (1, 1), 100 points each; 150 rows to train; logistic regression without a bias,
from zero. After five steps at a fixed learning rate the loss is recorded; over 100 repetitions of the draw, its mean
and standard deviation say how fast and how reliably a method goes down.

The natural gradient appears in four metrics. The one that is often copied takes the covariance of the scores,
``np.cov(scores)``: that is the empirical Fisher information less the outer product of the mean score, "centred". The
estimator never centres, as the definition does not; here the centred one is ten lines of numpy.
"""

import warnings

import numpy as np
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning

from sknatgrad import NaturalGradientLogisticRegression

N_STEPS = 5
N_REPETITIONS = 100
LEARNING_RATES = [0.03, 0.1, 0.3, 1.0]
VANILLA = "vanilla (identity)"
OPTIMUM = "optimum of the draw"
METRICS = {
    VANILLA: "identity",
    "natural: empirical": "empirical",
    "natural: true": "true",
    "natural: diagonal": "diagonal",
}
CENTRED = "natural: empirical, centred"


def clouds(rng):
    """Return 150 training rows of the two clouds, and their labels."""
    X = np.vstack([rng.normal(-1, 1, size=(100, 2)), rng.normal(1, 1, size=(100, 2))])
    y = np.repeat([0, 1], 100)
    train = rng.permutation(200)[:150]
    return X[train], y[train]


def loss_of_centred(X, y, learning_rate):
    """Return the mean loss after five steps with the covariance of the scores for a metric."""
    theta = np.zeros(X.shape[1])
    for _ in range(N_STEPS):
        scores = (expit(X @ theta) - y)[:, None] * X  # (n, p), each row's gradient
        theta -= learning_rate * np.linalg.solve(np.cov(scores.T), scores.mean(axis=0))
    return np.logaddexp(0, (1 - 2 * y) * (X @ theta)).mean()


def loss_of_metric(X, y, fisher, learning_rate):
    """Return the mean loss after five steps of the textbook algorithm."""
    model = NaturalGradientLogisticRegression(
        fisher=fisher,
        learning_rate=learning_rate,
        damping=0.0,
        C=np.inf,
        fit_intercept=False,
        max_iter=N_STEPS,
        tol=0.0,
    )
    with warnings.catch_warnings():
        # five steps are not meant to converge
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X, y).loss_curve_[-1]


def repeat(learning_rate):
    """Return, for each method, the losses of all repetitions, ``(N_REPETITIONS,)``, and those of the optimum."""
    rng = np.random.default_rng(0)
    losses = {}
    for _ in range(N_REPETITIONS):
        X, y = clouds(rng)
        found = {name: loss_of_metric(X, y, fisher, learning_rate) for name, fisher in METRICS.items()}
        found[CENTRED] = loss_of_centred(X, y, learning_rate)
        found[OPTIMUM] = NaturalGradientLogisticRegression(C=np.inf, fit_intercept=False).fit(X, y).loss_curve_[-1]
        for name, loss in found.items():
            losses.setdefault(name, []).append(loss)
    return {name: np.array(values) for name, values in losses.items()}


def table(title, names, columns):
    """Print mean and standard deviation of each method at each learning rate."""
    print(f"{title}: mean and standard deviation over {N_REPETITIONS} repetitions, nats\n")
    print(f"{'learning rate':30}" + "".join(f"{rate:>18}" for rate in LEARNING_RATES))
    for name in names:
        cells = (column[name] for column in columns.values())
        print(f"{name:30}" + "".join(f"{np.mean(cell):11.4f} ±{np.std(cell):.4f}" for cell in cells))
    print()


def ahead(column, name):
    """Say whether a method has the lower mean and the smaller spread than vanilla gradient descent."""
    ours, vanilla = column[name], column[VANILLA]
    return bool(ours.mean() < vanilla.mean() and ours.std() < vanilla.std())


def main():
    losses = {rate: repeat(rate) for rate in LEARNING_RATES}
    excess = {rate: {name: column[name] - column[OPTIMUM] for name in column} for rate, column in losses.items()}
    natural = [CENTRED, *list(METRICS)[1:]]
    table(f"Training loss after {N_STEPS} steps", [VANILLA, *natural, OPTIMUM], losses)
    print(
        "Every draw of the clouds has an optimum of its own, so a method that reaches it shows the spread of the draws."
    )
    print("What a method answers for is how far above the optimum of its draw it has stayed:\n")
    table("The same above the optimum of the draw", [VANILLA, *natural], excess)
    for name in natural:
        raw, above = ([rate for rate in LEARNING_RATES if ahead(columns[rate], name)] for columns in (losses, excess))
        print(f"{name}: lower mean and smaller spread than vanilla")
        print(f"    at learning rates {above or 'none'} above the optimum, {raw or 'none'} in the plain loss")

    assert all(ahead(excess[rate], name) for rate in LEARNING_RATES[1:] for name in natural)
    assert ahead(losses[0.1], "natural: true")
    assert ahead(excess[0.1], "natural: true")


if __name__ == "__main__":
    main()
