"""Store fitted models of this version, with what they say, for the tests of later versions to load.

Run once before a release, with the lowest versions, because numpy 1.24 cannot load what numpy 2 stores:

    make test-lowest
    .venv-lowest/bin/python tests/data/make_pickles.py
"""

import json
import pickle
import sys
from pathlib import Path

import joblib
import numpy as np

import sknatgrad
from sknatgrad import NaturalGradientLogisticRegression

N_ROWS = 60
N_SAID = 10  # rows
PROTOCOL = 4  # what Python has stored by default since 3.8


def models_of(X, codes):
    """Return a fitted model of each kind by name, and their labels."""
    two = codes > 0
    drifting = NaturalGradientLogisticRegression(store_covariance=True, forgetting=0.999)
    three = np.array(["ash", "oak", "yew"])[codes]
    return {
        "binary": (NaturalGradientLogisticRegression().fit(X, two.astype(int)), two.astype(int)),
        "multinomial": (NaturalGradientLogisticRegression(class_weight="balanced").fit(X, three), three),
        "covariance": (NaturalGradientLogisticRegression(C=10.0, store_covariance=True).fit(X, three), three),
        "stream": (drifting.partial_fit(X, two, [False, True]), two),
    }


def said_by(model, X, y):
    """Return what a model says of rows, and how it goes on learning, if it does."""
    few = X[:N_SAID]
    said = {"predict": model.predict(few).tolist(), "predict_proba": model.predict_proba(few).tolist()}
    if hasattr(model, "covariance_"):
        said["predict_proba_interval"] = model.predict_proba_interval(few).tolist()
        said["coef_ after the rows once more"] = model.partial_fit(X, y).coef_.tolist()
    return said


def main():
    if int(np.__version__.split(".")[0]) > 1:
        sys.exit(f"numpy is {np.__version__}, and numpy 1.24 cannot load what it stores; run this in .venv-lowest.")
    random = np.random.default_rng(20)
    # a year, an income and a yes or no, as they come in tables
    X = np.c_[random.integers(1950, 2020, N_ROWS), random.lognormal(10.0, 0.5, N_ROWS), random.integers(0, 2, N_ROWS)]
    logits = np.c_[np.zeros(N_ROWS), (X[:, 0] - 1985.0) / 20.0, 2.0 * X[:, 2] - 1.0]
    codes = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    folder = Path(__file__).parent / f"stored_by_{sknatgrad.__version__}"
    folder.mkdir(exist_ok=True)
    said = {}
    for name, (model, y) in models_of(X, codes).items():
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(model, protocol=PROTOCOL))
        joblib.dump(model, folder / f"{name}.joblib", protocol=PROTOCOL)
        said[name] = {"y": y.tolist(), "said": said_by(model, X, y)}
    (folder / "said.json").write_text(json.dumps({"X": X.tolist(), "models": said}) + "\n")


if __name__ == "__main__":
    main()
