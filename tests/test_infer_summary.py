"""Summaries of inference: the figures of R, names, tables and their text."""

import numpy as np
import pandas as pd
import pytest
from problems import fit_problem, infer_problem, make_problem

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad.inference import infer

# Motor Trend 1974, by Henderson and Velleman (1981), "Building multiple regression models interactively",
# Biometrics 37: the columns disp, hp and am of R's `mtcars`
DISP = """160 160 108 258 360 225 360 146.7 140.8 167.6 167.6 275.8 275.8 275.8 472 460 440 78.7 75.7 71.1 120.1 318 304
350 400 79 120.3 95.1 351 145 301 121"""
HP = """110 110 93 110 175 105 245 62 95 123 123 180 180 180 205 215 230 66 52 65 97 150 150 245 175 66 91 113 264 175
335 109"""
AM = "1 1 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 1 1 0 0 0 0 0 1 1 1 1 1 1 1"


def cars():
    columns = [np.array(column.split(), dtype=float) for column in (DISP, HP, AM)]
    return np.column_stack(columns[:2]), columns[2].astype(int)


def test_summary_holds_the_figures_that_r_prints():
    """summary(glm(am ~ disp + hp, binomial, mtcars)): https://www.statology.org/interpret-glm-output-in-r/."""
    X, y = cars()
    result = infer(NaturalGradientLogisticRegression(C=np.inf).fit(X, y), X, y)
    assert result.params.round(5).tolist() == [[-0.09518, 0.12170, 1.40342]]
    assert result.standard_errors.round(5).tolist() == [[0.04800, 0.06777, 1.36757]]
    assert result.z.round(3).tolist() == [[-1.983, 1.796, 1.026]]
    assert result.p_values.round(4).tolist() == [[0.0474, 0.0725, 0.3048]]
    assert round(-2 * result.loglik_null, 3) == 43.230
    assert round(-2 * result.loglik, 3) == 16.713
    text = str(result.summary())
    for figures in ("(Intercept)    1.4034       1.368    1.026     0.305", "0.0474  *", "43.23 on 31", "16.713 on 29"):
        assert figures in text, text


def test_odds_ratios_are_exponentials():
    problem = make_problem(3, n_rows=90)
    result = infer_problem(problem, fit_problem(problem), "fisher")
    ratios = result.odds_ratios(0.8)
    np.testing.assert_allclose(np.log(ratios.ratio), result.params)
    np.testing.assert_allclose(np.log(np.stack(ratios[1:], axis=-1)), result.conf_int(0.8), rtol=1e-9)


def test_names_reach_the_tables(anes):
    model = NaturalGradientLogisticRegression(C=np.inf).fit(anes.exog, anes.endog)
    result = infer(model, anes.exog, anes.endog, reference=3.0)
    assert result.feature_names == (*anes.exog.columns, "(Intercept)")
    frame = result.to_frame(0.9)
    assert frame.index.names == ["class", "feature"]
    assert frame.loc[6.0, "selfLR"]["estimate"] == result.params[-1, 1]
    assert frame.loc[6.0, "selfLR"]["ci_high"] == result.conf_int(0.9)[-1, 1, 1]
    text, html = str(result.summary()), result.summary()._repr_html_()
    for part in ("Log-odds of 6.0 against 3.0", "selfLR", "F⁻¹, the inverse Fisher information"):
        assert part in text
        assert part in html
    assert "&lt;2e-16" in html


def test_names_come_from_the_table_if_the_fit_had_none():
    problem = make_problem(2, n_rows=90)
    model = fit_problem(problem)
    table = pd.DataFrame(problem.X, columns=["age", "height", "weight"])
    result = infer(model, table, problem.codes, sample_weight=problem.weight, features=["height"])
    assert result.feature_names == ("height",)


@pytest.mark.parametrize(("kind", "words"), [("fisher", "posterior"), ("frequentist", "about their mean")])
def test_the_summary_of_a_penalised_fit_says_so(kind, words):
    problem = make_problem(2, n_rows=90)
    text = str(infer_problem(problem, fit_problem(problem, 1.0), kind).summary())
    assert "shrunk" in text
    assert "(F + Λ)⁻¹" in text
    assert words in text


def test_the_result_prints_its_summary():
    problem = make_problem(2, n_rows=90)
    result = infer_problem(problem, fit_problem(problem), "fisher")
    assert repr(result) == str(result.summary())
    assert result._repr_html_() == result.summary()._repr_html_()
    assert result != infer_problem(problem, fit_problem(problem), "fisher")


def test_sampling_weights_have_no_likelihood():
    problem = make_problem(2, n_rows=90)
    result = infer_problem(problem, fit_problem(problem), "robust", weights="sampling")
    assert np.isnan([result.aic, result.bic]).all()
    text = str(result.summary())
    assert "M = Σ s² u uᵀ over rows (HC0)" in text
    assert "deviance" not in text
    assert "AIC" not in text
    counted = str(infer_problem(problem, fit_problem(problem), "robust").summary())
    assert "M = Σ s u uᵀ over rows (HC0)" in counted
    assert f"{problem.weight.sum():.2f} observations" in counted


def test_effective_degrees_of_freedom_fall_with_the_penalty():
    problem = make_problem(3, n_rows=90)
    found = [infer_problem(problem, fit_problem(problem, C), "fisher").effective_dof for C in (1e-6, 1.0, 1e6, np.inf)]
    assert found == sorted(found)
    # the intercepts are not penalised
    assert found[0] == pytest.approx(2.0, abs=1e-3)
    assert found[-2] == pytest.approx(8.0, abs=1e-3)
    assert found[-1] == 8.0


def test_residual_degrees_of_freedom_of_several_classes(iris):
    """VGAM::vglm(Species ~ Sepal.Length, multinomial, iris): df.residual 296, of the null model 298."""
    X, y = iris[0][:, :1], iris[1]
    result = infer(NaturalGradientLogisticRegression(C=np.inf).fit(X, y), X, y)
    text = str(result.summary())
    assert "Null deviance: 329.58 on 298 degrees of freedom; residual deviance: 182.07 on 296." in text
    bare = infer(NaturalGradientLogisticRegression(C=np.inf, fit_intercept=False).fit(X, y), X, y)
    assert "on 300 degrees of freedom; residual deviance" in str(bare.summary())
    assert " on 298.\n" in str(bare.summary())
