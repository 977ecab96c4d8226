"""The folds of rows that each pass reads again: by the number of the row."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.model_selection import PredefinedSplit

from sknatgrad._estimator.cv_splits import Split, check_present
from sknatgrad._rows.training_sets import GroupTotalsKernel, HashedNumbers, RowGroups, StoredNumbers

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Codes, Labels
    from sknatgrad._rows.training_sets import GroupTotals, RowNumbers

# folds of `cv=None`, as of scikit-learn's splitters
DEFAULT_FOLDS = 5
MIN_FOLDS = 2


class Folds(NamedTuple):
    """Folds of the rows; the training rows of each are all others."""

    numbers: RowNumbers  # of the fold of each row; the number after the last fold is that of rows in no fold
    n_folds: int
    n_rows: int | None = None  # rows that have a number, if these are given

    @classmethod
    def of(cls, cv: Any) -> Folds:
        """Return the folds that `cv` means."""
        if cv is None:
            return cls(HashedNumbers(DEFAULT_FOLDS), DEFAULT_FOLDS)
        if isinstance(cv, Integral) and not isinstance(cv, bool) and int(cv) >= MIN_FOLDS:
            return cls(HashedNumbers(int(cv)), int(cv))
        if isinstance(cv, PredefinedSplit):
            return cls._given(np.asarray(cv.test_fold))
        message = (
            f"cv={cv!r:.60} needs all rows at once; with batches and Dask collections folds are made by the number of "
            "the row: pass an integer of 2 or more, or PredefinedSplit(test_fold) with the fold of each row."
        )
        raise ValueError(message)

    @classmethod
    def _given(cls, test_fold: Codes) -> Folds:
        """Return the folds with a given number for each row, -1 for a row in none, in the order of scikit-learn."""
        found = np.unique(test_fold)
        found = found[found != -1]
        if not found.size:
            message = "cv=PredefinedSplit(test_fold) has -1 for every row; it must give some rows a fold of 0 or more."
            raise ValueError(message)
        numbers = np.where(test_fold == -1, found.size, np.searchsorted(found, test_fold))
        return cls(StoredNumbers(numbers.astype(np.min_scalar_type(found.size))), found.size, test_fold.size)

    @property
    def groups(self) -> RowGroups:
        """The groups of rows, of which each training set has all but one."""
        return RowGroups(self.numbers, 1.0 - np.eye(self.n_folds, self._n_groups))

    @property
    def _n_groups(self) -> int:
        """Number of folds, and one more where rows may be in none."""
        return self.n_folds + (self.n_rows is not None)

    def totals_kernel(self, n_classes: int) -> GroupTotalsKernel:
        """Return the kernel that counts the rows of each fold, and of no fold."""
        return GroupTotalsKernel(self.numbers, self._n_groups, n_classes)

    def splits(self, n_rows: int) -> list[Split]:
        """Return the training and test rows of each fold, as indices."""
        numbers = self.numbers.of(np.arange(n_rows))
        return [Split(np.flatnonzero(numbers != fold), np.flatnonzero(numbers == fold)) for fold in range(self.n_folds)]

    def check_length(self, n_rows: int) -> None:
        """Refuse given numbers of other rows, and more folds than rows."""
        if self.n_rows is not None and self.n_rows != n_rows:
            message = (
                f"cv=PredefinedSplit(test_fold) has the folds of {self.n_rows:,} rows, and there are {n_rows:,} rows; "
                "it must have one number for each row, in their order."
            )
            raise ValueError(message)
        if self.n_folds > n_rows:
            message = f"cv={self.n_folds} is more than the {n_rows:,} rows; pass a smaller number of folds."
            raise ValueError(message)

    def training_totals(self, totals: GroupTotals, factors: Array, classes: Labels) -> Array:
        """Return the sums of the sample weights of each training set, ``(T, K)``.

        Refuse a fold without rows, or whose training rows have one class only; `factors` are the class weights.
        """
        empty = np.flatnonzero(totals.n_rows[: self.n_folds] == 0)
        if empty.size:
            message = (
                f"fold {empty[0]} of cv={self.n_folds} has no rows, because the folds of few rows differ in size; pass "
                "a smaller number of folds, or PredefinedSplit(test_fold)."
            )
            raise ValueError(message)
        # not a difference from all rows, whose rounding would leave weight to a class without rows
        of_sets: Array = self.groups.counts @ totals.weight
        for fold, weight in enumerate(of_sets * factors):
            remedy = "pass fewer folds, or PredefinedSplit(test_fold)"
            check_present(np.flatnonzero(weight > 0.0), classes, f"fold {fold}", remedy)
        return of_sets
