"""Displays of fitted models by scikit-learn's conventions: ``from_estimator``, ``plot(ax=...)``, ``ax_``, ``figure_``.

They need the extra ``plots``: ``pip install 'sknatgrad[plots]'``. matplotlib is imported when the first display is
drawn.
"""

from sknatgrad.plots._coefficients import CoefficientDisplay
from sknatgrad.plots._ellipses import FisherEllipseDisplay
from sknatgrad.plots._influence import InfluenceDisplay
from sknatgrad.plots._loss_curves import LossCurveDisplay
from sknatgrad.plots._path import RegularizationPathDisplay
from sknatgrad.plots._probability import ProbabilityIntervalDisplay

__all__ = [
    "CoefficientDisplay",
    "FisherEllipseDisplay",
    "InfluenceDisplay",
    "LossCurveDisplay",
    "ProbabilityIntervalDisplay",
    "RegularizationPathDisplay",
]
