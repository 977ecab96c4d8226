"""The workloads: named data sets, each with a function that returns its X and class codes."""

import csv
import gzip
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.datasets import fetch_openml, load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.preprocessing import StandardScaler

from benchmarks import synthetic

# indices of the numeric columns of the adult data
ADULT_NUMERIC = (0, 2, 4, 10, 11, 12)
# images of each digit
MNIST_PER_CLASS = 500


class DataUnavailableError(Exception):
    """Raised with the reason when the data of a workload are not available."""


class Problem(NamedTuple):
    """The data of a workload."""

    X: Any  # (n, p) in C order or CSR, float64
    codes: np.ndarray  # (n,), class of each row, 0 to K-1
    weight: np.ndarray | None = None  # (n,), weight of each row; None if each counts once

    @property
    def total_weight(self):
        """Sum of the weights of all rows."""
        return float(len(self.codes) if self.weight is None else self.weight.sum())


@dataclass(frozen=True)
class Workload:
    """A named fitting problem.

    ``make(data_folder)`` returns the `Problem`. `series` and `size` give its position in a growth series.
    """

    name: str
    group: str
    description: str
    make: Callable[[Path | None], Problem]
    series: str | None = None
    size: int | None = None


def _bunch(loader, _folder, *, standardised=False, first_class=None):
    """Return data of scikit-learn; with `first_class`, the classes below it against the others."""
    X, codes = loader(return_X_y=True)
    X = np.ascontiguousarray(X, dtype=np.float64)
    if standardised:
        X = StandardScaler().fit_transform(X)
    if first_class is not None:
        codes = codes >= first_class
    return Problem(X, codes.astype(np.int64))


def _simulated(maker, sizes, _folder):
    return Problem(*maker(**sizes))


def _adult_table(folder):
    """Return the 14 columns, and whether the income of each row is above 50K."""
    path = folder / "adult.csv.gz" if folder else None
    if path is not None and path.exists():
        with gzip.open(path, "rt", newline="") as file:
            _, *rows = csv.reader(file)
        *columns, income = zip(*rows, strict=True)
    else:
        # without data frames, categories are codes and missing values NaN, which give the same one-hot columns
        data = _fetched("adult", version=2, as_frame=False, parser="liac-arff")
        columns, income = list(data.data.T), data.target
    return columns, np.array([">50K" in str(value) for value in income])


def _adult(stored_sparse, standardised, folder):
    columns, above_50k = _adult_table(folder)
    blocks = []
    for index, column in enumerate(columns):
        if index in ADULT_NUMERIC:
            blocks.append(np.asarray(column, dtype=np.float64)[:, None])
        else:
            categories, codes = np.unique(np.asarray(column), return_inverse=True)
            blocks.append(np.eye(len(categories))[codes])
    X = np.hstack(blocks)
    if stored_sparse:
        X = sparse.csr_matrix(X)
    if standardised:
        # centred columns would not be sparse
        X = StandardScaler(with_mean=not stored_sparse).fit_transform(X)
    return Problem(X, above_50k.astype(np.int64))


def _mnist(scale, folder):
    path = folder / "mnist_5k.csv.gz" if folder else None
    if path is not None and path.exists():
        table = np.loadtxt(path, delimiter=",")
        X, codes = table[:, :-1], table[:, -1].astype(np.int64)
    else:
        data = _fetched("mnist_784", version=1, as_frame=False, parser="liac-arff")
        X, codes = data.data.astype(np.float64), data.target.astype(np.int64)
    first = np.sort(np.concatenate([np.flatnonzero(codes == k)[:MNIST_PER_CLASS] for k in range(10)]))
    return Problem(np.ascontiguousarray(X[first]) / scale, codes[first])


def _fetched(name, **options):
    try:
        return fetch_openml(name, **options)
    except Exception as error:
        # any failure of the download skips this workload only
        raise DataUnavailableError(f"not in the data folder, and fetch_openml({name!r}) failed: {error}") from error


def _workload(name, group, description, maker, **sizes):
    return Workload(name, group, description, partial(_simulated, maker, sizes))


def _small():
    """Yield the tables that fit in milliseconds, where the fixed cost of a fit counts most."""
    standardised = partial(_bunch, load_breast_cancer, standardised=True)
    binary = partial(_bunch, load_digits, first_class=5)
    yield Workload("iris", "small", "iris, raw columns", partial(_bunch, load_iris))
    yield Workload("wine", "small", "wine, raw columns", partial(_bunch, load_wine))
    yield Workload("breast_cancer", "small", "breast cancer, raw columns", partial(_bunch, load_breast_cancer))
    yield Workload("breast_cancer_standardised", "small", "breast cancer, standardised columns", standardised)
    yield Workload("digits", "small", "8x8 digits, raw pixels", partial(_bunch, load_digits))
    yield Workload("digits_binary", "small", "8x8 digits, 0 to 4 against 5 to 9, raw pixels", binary)
    for n_rows, n_columns in ((100, 4), (200, 60), (1000, 10), (10_000, 20)):
        name, text = f"gaussian_{n_rows}x{n_columns}", f"isotropic, {n_rows:,} x {n_columns}"
        yield _workload(name, "small", text, synthetic.gaussian, n_rows=n_rows, n_columns=n_columns)
    sizes = {"n_rows": 5000, "n_columns": 30}
    text = "isotropic, 5,000 x 30, rows with weights"
    yield _workload("weighted_5000x30", "small", text, synthetic.weighted, **sizes)
    sizes = {"n_rows": 1000, "n_columns": 5, "density": 0.3}
    text = "1,000 x 5, three values in ten stored, CSR"
    yield _workload("sparse_1000x5", "small", text, synthetic.sparse_columns, **sizes)
    sizes = {"n_rows": 1000, "n_words": 5000, "terms_per_row": 100}
    yield _workload("text_1000x5000", "small", "tf-idf of Zipf text, 1,000 x 5,000, CSR", synthetic.zipf_text, **sizes)


def _real():
    for stored_sparse in (False, True):
        for standardised in (False, True):
            kind = "sparse" if stored_sparse else "dense"
            scaling = "standardised" if standardised else "raw"
            name, text = f"adult_{kind}_{scaling}", f"census income, one-hot, {kind}, {scaling}"
            yield Workload(name, "tabular", text, partial(_adult, stored_sparse, standardised))
    yield Workload("mnist_raw", "image", "MNIST, 500 of each digit, pixels 0 to 255", partial(_mnist, 1.0))
    yield Workload("mnist_unit", "image", "MNIST, 500 of each digit, pixels 0 to 1", partial(_mnist, 255.0))


def _synthetic():
    normal, text = synthetic.gaussian, synthetic.zipf_text
    yield _workload("gaussian_tall", "gaussian", "isotropic, 10⁶ x 10", normal, n_rows=10**6, n_columns=10)
    yield _workload("gaussian_medium", "gaussian", "isotropic, 10⁵ x 200", normal, n_rows=10**5, n_columns=200)
    yield _workload("gaussian_wide", "gaussian", "isotropic, 20,000 x 1,000", normal, n_rows=20_000, n_columns=1000)
    scaled = {"n_rows": 10**5, "n_columns": 50, "scales": (1.0, 1e4)}
    yield _workload("gaussian_scales", "gaussian", "10⁵ x 50, columns of scale 1 to 10,000", normal, **scaled)
    sizes = {"n_rows": 20_000, "n_columns": 256, "n_classes": 20}
    yield _workload("correlated", "classes", "correlated, 20,000 x 256, 20 classes", synthetic.correlated, **sizes)
    sizes = {"n_rows": 50_000, "n_columns": 64, "n_classes": 1000}
    yield _workload("thousand_classes", "classes", "clusters, 50,000 x 64, 1,000 classes", synthetic.clusters, **sizes)
    sizes = {"n_rows": 10**5, "n_words": 10**5, "terms_per_row": 50}
    yield _workload("text_zipf", "text", "tf-idf of Zipf text, 10⁵ x 10⁵, 50 terms per row, CSR", text, **sizes)
    sizes = {"n_rows": 2000, "n_words": 140_000, "terms_per_row": 100}
    yield _workload("text_few_rows", "text", "tf-idf of Zipf text, 2,000 x 140,000, CSR", text, **sizes)


def _tall():
    """Yield dense tables of well-conditioned columns, with many more rows than columns."""
    for n_columns in (20, 50, 100):
        text, sizes = f"isotropic, 10⁵ x {n_columns}", {"n_rows": 10**5, "n_columns": n_columns}
        yield _workload(f"tall_{n_columns}", "tall", text, synthetic.gaussian, **sizes)
    sizes = {"n_rows": 500_000, "n_columns": 40}
    text = "500,000 x 40, half of the columns binary"
    yield _workload("tall_half_binary", "tall", text, synthetic.half_binary, **sizes)


def _growth():
    def point(series, size, description, maker, **sizes):
        text = f"growth in {series}: {description}"
        return Workload(f"growth_{series}_{size}", "growth", text, partial(_simulated, maker, sizes), series, size)

    for n in (10**4, 10**5, 10**6, 10**7):
        yield point("n", n, f"isotropic, {n:,} x 20", synthetic.gaussian, n_rows=n, n_columns=20)
    for p in (10, 30, 100, 300, 1000, 3000):
        yield point("p", p, f"isotropic, 20,000 x {p:,}", synthetic.gaussian, n_rows=20_000, n_columns=p)
    for K in (2, 5, 10, 30, 100, 300, 1000):
        sizes = {"n_rows": 20_000, "n_columns": 32, "n_classes": K}
        yield point("K", K, f"softmax, 20,000 x 32, {K:,} classes", synthetic.softmax_classes, **sizes)


MAKERS = (_small, _real, _synthetic, _tall, _growth)
WORKLOADS = {workload.name: workload for maker in MAKERS for workload in maker()}
GROUPS = tuple(dict.fromkeys(workload.group for workload in WORKLOADS.values()))
# the workloads of docs/benchmarks.md
PUBLISHED = ("breast_cancer", "digits", *(workload.name for maker in (_real, _synthetic) for workload in maker()))
SETS = {"published": PUBLISHED}


def chosen(names, *, growth):
    """Return the workloads of these names, groups and sets, or all but the growth series if there are no names."""
    known = set(WORKLOADS) | set(GROUPS) | set(SETS)
    if unknown := set(names) - known:
        raise ValueError(f"workloads {sorted(unknown)} are unknown; choose from {sorted(known)}")
    wanted = set(names) or set(GROUPS) - {"growth"}
    wanted |= {"growth"} if growth else set()
    for name in wanted & set(SETS):
        wanted |= set(SETS[name])
    return [workload for workload in WORKLOADS.values() if {workload.name, workload.group} & wanted]
