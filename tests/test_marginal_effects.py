"""Average marginal effects against statsmodels and repeated rows."""

import numpy as np
import pytest
import statsmodels.api as sm
from problems import fit_problem, infer_problem, make_problem, with_intercept_last

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad.inference import infer


@pytest.mark.parametrize("kind", ["fisher", "HC0"])
def test_marginal_effects_of_two_classes_as_in_statsmodels(kind, spector):
    X, y = spector.exog.to_numpy(), spector.endog.to_numpy()
    peer = sm.Logit(y, with_intercept_last(X)).fit(disp=0, cov_type={"fisher": "nonrobust"}.get(kind, kind))
    margins = peer.get_margeff()
    model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    ours = infer(model, X, y, covariance={"HC0": "robust"}.get(kind, kind)).marginal_effects()
    assert ours.classes == (1.0,)
    np.testing.assert_allclose(ours.effects[0], margins.margeff, rtol=1e-8)
    np.testing.assert_allclose(ours.standard_errors[0], margins.margeff_se, rtol=1e-7)
    np.testing.assert_allclose(ours.p_values[0], margins.pvalues, rtol=1e-6)
    np.testing.assert_allclose(ours.conf_int()[0], margins.conf_int(), rtol=1e-6)


def test_marginal_effects_of_several_classes_as_in_statsmodels(limits, anes):
    X, y = anes.exog.to_numpy(), anes.endog.to_numpy()
    margins = sm.MNLogit(y, with_intercept_last(X)).fit(disp=0).get_margeff()
    model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    for n_bytes, reference in ((2**22, None), (8 * 7 * 6 * 100, 4.0)):
        limits(row_bytes=n_bytes)
        ours = infer(model, X, y, reference=reference).marginal_effects()
        assert ours.classes == tuple(np.arange(7.0))
        np.testing.assert_allclose(ours.effects, margins.margeff.T, rtol=1e-6, atol=1e-12)
        np.testing.assert_allclose(ours.standard_errors, margins.margeff_se.T, rtol=1e-6)


def test_marginal_effects_count_rows_by_their_weight():
    problem = make_problem(3, n_rows=60)
    times = np.random.default_rng(0).integers(0, 4, size=60)
    weighted = problem._replace(weight=times.astype(float))
    model = fit_problem(weighted)
    ours = infer_problem(weighted, model, "fisher").marginal_effects()
    rows = np.repeat(np.arange(60), times)
    repeated = infer(model, problem.X[rows], problem.codes[rows]).marginal_effects()
    np.testing.assert_allclose(ours.effects, repeated.effects, rtol=1e-10)
    np.testing.assert_allclose(ours.standard_errors, repeated.standard_errors, rtol=1e-9)
