"""The workloads: named data sets, each with a function that returns its X and class codes."""

import csv
import gzip
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.datasets import fetch_openml, load_breast_cancer, load_digits
from sklearn.preprocessing import StandardScaler

from benchmarks import synthetic

# indices of the numeric columns of the adult data
ADULT_NUMERIC = (0, 2, 4, 10, 11, 12)
# images of each digit
MNIST_PER_CLASS = 500


class DataUnavailableError(Exception):
    """Raised with the reason when the data of a workload are not available."""


@dataclass(frozen=True)
class Workload:
    """A named fitting problem.

    ``make(data_folder)`` returns X, (n, p) in C order or CSR, float64, and the class codes, (n,), 0 to K-1. `series`
    and `size` give its position in a growth series.
    """

    name: str
    group: str
    description: str
    make: Callable[[Path | None], tuple[Any, np.ndarray]]
    series: str | None = None
    size: int | None = None


def _bunch(loader, _folder):
    X, codes = loader(return_X_y=True)
    return np.ascontiguousarray(X, dtype=np.float64), codes.astype(np.int64)


def _simulated(maker, sizes, _folder):
    return maker(**sizes)


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
    return X, above_50k.astype(np.int64)


def _mnist(scale, folder):
    path = folder / "mnist_5k.csv.gz" if folder else None
    if path is not None and path.exists():
        table = np.loadtxt(path, delimiter=",")
        X, codes = table[:, :-1], table[:, -1].astype(np.int64)
    else:
        data = _fetched("mnist_784", version=1, as_frame=False, parser="liac-arff")
        X, codes = data.data.astype(np.float64), data.target.astype(np.int64)
    first = np.sort(np.concatenate([np.flatnonzero(codes == k)[:MNIST_PER_CLASS] for k in range(10)]))
    return np.ascontiguousarray(X[first]) / scale, codes[first]


def _fetched(name, **options):
    try:
        return fetch_openml(name, **options)
    except Exception as error:
        # any failure of the download skips this workload only
        raise DataUnavailableError(f"not in the data folder, and fetch_openml({name!r}) failed: {error}") from error


def _real():
    yield Workload("breast_cancer", "small", "breast cancer, raw columns", partial(_bunch, load_breast_cancer))
    yield Workload("digits", "small", "8x8 digits, raw pixels", partial(_bunch, load_digits))
    for stored_sparse in (False, True):
        for standardised in (False, True):
            kind = "sparse" if stored_sparse else "dense"
            scaling = "standardised" if standardised else "raw"
            name, text = f"adult_{kind}_{scaling}", f"census income, one-hot, {kind}, {scaling}"
            yield Workload(name, "tabular", text, partial(_adult, stored_sparse, standardised))
    yield Workload("mnist_raw", "image", "MNIST, 500 of each digit, pixels 0 to 255", partial(_mnist, 1.0))
    yield Workload("mnist_unit", "image", "MNIST, 500 of each digit, pixels 0 to 1", partial(_mnist, 255.0))


def _synthetic():
    def workload(name, group, description, maker, **sizes):
        return Workload(name, group, description, partial(_simulated, maker, sizes))

    normal, text = synthetic.gaussian, synthetic.zipf_text
    yield workload("gaussian_tall", "gaussian", "isotropic, 10⁶ x 10", normal, n_rows=10**6, n_columns=10)
    yield workload("gaussian_medium", "gaussian", "isotropic, 10⁵ x 200", normal, n_rows=10**5, n_columns=200)
    yield workload("gaussian_wide", "gaussian", "isotropic, 20,000 x 1,000", normal, n_rows=20_000, n_columns=1000)
    scaled = {"n_rows": 10**5, "n_columns": 50, "scales": (1.0, 1e4)}
    yield workload("gaussian_scales", "gaussian", "10⁵ x 50, columns of scale 1 to 10,000", normal, **scaled)
    sizes = {"n_rows": 20_000, "n_columns": 256, "n_classes": 20}
    yield workload("correlated", "classes", "correlated, 20,000 x 256, 20 classes", synthetic.correlated, **sizes)
    sizes = {"n_rows": 50_000, "n_columns": 64, "n_classes": 1000}
    yield workload("thousand_classes", "classes", "clusters, 50,000 x 64, 1,000 classes", synthetic.clusters, **sizes)
    sizes = {"n_rows": 10**5, "n_words": 10**5, "terms_per_row": 50}
    yield workload("text_zipf", "text", "tf-idf of Zipf text, 10⁵ x 10⁵, 50 terms per row, CSR", text, **sizes)
    sizes = {"n_rows": 2000, "n_words": 140_000, "terms_per_row": 100}
    yield workload("text_few_rows", "text", "tf-idf of Zipf text, 2,000 x 140,000, CSR", text, **sizes)


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


WORKLOADS = {workload.name: workload for maker in (_real, _synthetic, _growth) for workload in maker()}
GROUPS = tuple(dict.fromkeys(workload.group for workload in WORKLOADS.values()))


def chosen(names, *, growth):
    """Return the workloads of these names and groups, or all but the growth series if there are no names."""
    known = set(WORKLOADS) | set(GROUPS)
    if unknown := set(names) - known:
        raise ValueError(f"workloads {sorted(unknown)} are unknown; choose from {sorted(known)}")
    wanted = set(names) or set(GROUPS) - {"growth"}
    wanted |= {"growth"} if growth else set()
    return [workload for workload in WORKLOADS.values() if {workload.name, workload.group} & wanted]
