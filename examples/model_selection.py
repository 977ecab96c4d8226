"""Pipelines, grid search and cross-validation: as with any scikit-learn classifier.

A table of mixed kinds, numbers as they come and categories one-hot, goes through a pipeline into the estimator. The
search runs over the penalty, the metric and the damping. Metric and damping are only ways to the optimum, so the scores
differ by the penalty alone: a fact that the script checks.
"""

import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_wine
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from sknatgrad import NaturalGradientLogisticRegression


def main():
    X, y = load_wine(return_X_y=True)
    # a categorical column in place of the last: proline in four bands
    X[:, -1] = np.digitize(X[:, -1], [500, 700, 1000])
    names = np.array(["barolo", "grignolino", "barbera"])[y]
    X_train, X_test, y_train, y_test = train_test_split(X, names, random_state=0, stratify=names)

    pipeline = make_pipeline(
        make_column_transformer((OneHotEncoder(), [X.shape[1] - 1]), remainder="passthrough"),
        NaturalGradientLogisticRegression(max_iter=500),
    )
    step = "naturalgradientlogisticregression__"
    grid = {
        f"{step}C": [0.01, 0.1, 1.0, 10.0],
        f"{step}fisher": ["true", "empirical", "kronecker"],
        f"{step}damping": [1e-3, 1e-1],
    }
    search = GridSearchCV(pipeline, grid, scoring="neg_log_loss", cv=5).fit(X_train, y_train)

    results = search.cv_results_
    print("Cross-validated log loss by penalty, over all metrics and dampings")
    for C in grid[f"{step}C"]:
        scores = -results["mean_test_score"][results[f"param_{step}C"] == C]
        print(f"  C = {C:<5}: {scores.mean():.4f}, the same for each of {len(scores)} to {np.ptp(scores):.0e}")
        assert np.ptp(scores) < 1e-5
    print(f"Best C: {search.best_params_[f'{step}C']}")
    print(f"Held-out accuracy: {search.best_estimator_.score(X_test, y_test):.3f}")
    folds = cross_val_score(search.best_estimator_, X, names, cv=5)
    print(f"Accuracy over five folds: {folds.mean():.3f} ± {folds.std():.3f}")
    assert search.best_estimator_.score(X_test, y_test) > 0.9
    assert folds.mean() > 0.9


if __name__ == "__main__":
    main()
