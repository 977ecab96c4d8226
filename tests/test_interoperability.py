"""imbalanced-learn, shap, MLflow and marginaleffects with our estimators.

Those that are heavy to install are tested where they are installed: shap, mlflow-skinny with skops, marginaleffects.
"""

import re
import warnings

import numpy as np
import pytest
from problems import ROOT, needed
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.preprocessing import StandardScaler

from sknatgrad import NaturalGradientLogisticRegression


class TestImbalancedLearn:
    @pytest.fixture(autouse=True)
    def _package(self):
        reason = "imbalanced-learn is not installed: pip install '.[test]'"
        self.pipeline = needed("imblearn.pipeline", reason)
        self.over_sampling = needed("imblearn.over_sampling", reason)

    @pytest.fixture
    def rare(self):
        """An eighth of the malignant tumours beside all benign ones."""
        X, y = load_breast_cancer(return_X_y=True, as_frame=True)
        kept = (y == 1) | (np.arange(len(y)) % 8 == 0)
        return X[kept], y[kept]

    def test_fits_what_was_resampled(self, rare):
        sampler = self.over_sampling.RandomOverSampler(random_state=0)
        model = self.pipeline.make_pipeline(sampler, NaturalGradientLogisticRegression()).fit(*rare)
        X, y = sampler.fit_resample(*rare)
        assert len(y) > len(rare[1])
        np.testing.assert_array_equal(model[-1].coef_, NaturalGradientLogisticRegression().fit(X, y).coef_)

    def test_cross_validation_and_search(self, rare):
        sampler = self.over_sampling.RandomOverSampler(random_state=0)
        model = self.pipeline.make_pipeline(sampler, NaturalGradientLogisticRegression())
        scores = cross_val_score(model, *rare, cv=3, scoring="balanced_accuracy")
        assert scores.min() > 0.85
        search = GridSearchCV(model, {"naturalgradientlogisticregression__C": [1e-6, 1.0]}, cv=3).fit(*rare)
        assert search.best_params_ == {"naturalgradientlogisticregression__C": 1.0}

    def test_names_are_kept(self, rare):
        sampler = self.over_sampling.SMOTE(random_state=0)
        model = self.pipeline.make_pipeline(sampler, StandardScaler(), NaturalGradientLogisticRegression())
        model.set_output(transform="pandas").fit(*rare)
        assert list(model[-1].feature_names_in_) == list(rare[0].columns)


def shown(heading):
    """Run the code that docs/interoperability.md shows under a heading; return what it defines."""
    page = (ROOT / "docs" / "interoperability.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)[1]
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE):
        exec(block, names)  # noqa: S102 - our own page
    return names


def test_shap():
    needed("shap", "shap, with numba and llvmlite, is not in the extra test: pip install shap")
    names = shown("SHAP")
    model, X, explanation = names["model"], names["X"], names["explanation"]
    parts = explanation.values
    logits = model.decision_function(X)
    np.testing.assert_allclose(parts.sum(axis=1) + explanation.base_values, logits, rtol=0, atol=1e-9)
    np.testing.assert_allclose(parts, (X - X.mean()) * model.coef_[0], rtol=0, atol=1e-9)


def test_mlflow(tmp_path, monkeypatch):
    reason = "it is not in the extra test: pip install mlflow-skinny skops"
    needed("mlflow.sklearn", reason)
    needed("skops", reason)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    with warnings.catch_warnings():
        # of MLflow, about integer columns and where it keeps runs
        warnings.simplefilter("ignore")
        names = shown("MLflow")
    np.testing.assert_array_equal(names["loaded"].predict_proba(names["X"]), names["model"].predict_proba(names["X"]))


def test_marginaleffects():
    needed("marginaleffects", "it is not in the extra test: pip install marginaleffects 'polars<2'")
    names = shown("marginaleffects")
    own = names["result"].marginal_effects()
    table = names["table"].to_pandas().set_index("term")
    position = names["result"].feature_names.index("age")
    assert table.loc["age", "estimate"] == pytest.approx(own.effects[0, position], rel=1e-4)
    # they take derivatives by differences
    assert table.loc["age", "std_error"] == pytest.approx(own.standard_errors[0, position], rel=0.01)
    import statsmodels.formula.api as smf  # noqa: PLC0415 - takes a second

    fit = smf.logit("ill ~ age + smoker", names["data"]).fit(disp=0)
    theirs = names["avg_slopes"](fit).to_pandas().set_index("term")
    assert list(table.index) == list(theirs.index)
    np.testing.assert_allclose(table["estimate"], theirs["estimate"], rtol=1e-6)
    np.testing.assert_allclose(table["std_error"], theirs["std_error"], rtol=0.01)
