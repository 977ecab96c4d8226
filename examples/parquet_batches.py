"""
Files larger than memory, read in batches
=========================================

Fits to a Parquet file and to a CSV file, each read in batches. The first pass over a file keeps up to 256 MiB of its
rows as a sample. A smaller file is read only once; a larger file, like the one here, is read a few more times.

The script writes two million rows to a temporary file, fits a model, checks its calibration on the rows, and removes
the file.
"""

import csv
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from matplotlib import pyplot as plt

from sknatgrad import NaturalGradientLogisticRegression

N_ROWS, ROWS_PER_GROUP = 2_000_000, 200_000
MONTHS = 20
FEATURES = ["age", "income", "visits", "distance", *[f"spent_{month}_months_ago" for month in range(1, MONTHS + 1)]]
THETA = np.array([0.03, -2e-5, 0.4, -0.1, *0.02 * 0.8 ** np.arange(MONTHS)])


def rows(random, n_rows):
    """Return the features of customers, and whether each made a purchase."""
    X = np.column_stack(
        [
            random.uniform(18, 90, n_rows),
            random.lognormal(10.5, 0.5, n_rows),
            random.poisson(2, n_rows),
            random.exponential(10, n_rows),
            random.gamma(2.0, 5.0, (n_rows, MONTHS)),
        ]
    )
    return X, random.logistic(size=n_rows) < X @ THETA - 1


def write(path):
    """Write customers to a Parquet file, one row group at a time."""
    random = np.random.default_rng(0)
    writer = None
    for _ in range(N_ROWS // ROWS_PER_GROUP):
        X, purchased = rows(random, ROWS_PER_GROUP)
        table = pa.table({**dict(zip(FEATURES, X.T, strict=True)), "purchased": np.where(purchased, "yes", "no")})
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


folder = TemporaryDirectory()
path = Path(folder.name) / "customers.parquet"
write(path)

# %%
# Parquet
# -------
# pyarrow reads a dataset in batches, here with a filter on the rows. ``pre_buffer=False`` and a read-ahead of one batch
# keep it from holding the whole file in memory.

dataset = ds.dataset(path)
columns, under_80 = [*FEATURES, "purchased"], ds.field("age") < 80
scan = {"batch_readahead": 1, "fragment_scan_options": ds.ParquetFragmentScanOptions(pre_buffer=False)}


def batches():
    """Start a pass over the file; yield the features and labels of each batch."""
    for batch in dataset.to_batches(columns=columns, filter=under_80, batch_size=100_000, **scan):
        yield batch.select(FEATURES).to_pandas(), batch["purchased"].to_numpy(zero_copy_only=False)


model = NaturalGradientLogisticRegression().fit_batches(batches)
print(f"Parquet, {path.stat().st_size / 1e6:.0f} MB: passes {model.n_passes_}, steps {model.n_iter_[0]}")
for name, estimate, true in list(zip(model.feature_names_in_, model.coef_[0], THETA, strict=True))[:6]:
    print(f"  {name:20s} {estimate: .6f}  (true value {true: .6f})")
np.testing.assert_allclose(model.coef_[0], THETA, rtol=0.02, atol=0.002)
assert model.n_passes_ > 1

# %%
# Calibration
# -----------
# One more pass over the file compares the purchase rate with the mean predicted probability, by decile of the
# probability. It accumulates only 30 sums, whatever the number of rows.

edges = np.quantile(model.predict_proba(next(batches())[0])[:, 1], np.arange(1, 10) / 10)
sums = np.zeros((3, 10))  # of rows, probabilities and purchases, by decile
for X, purchased in batches():
    proba = model.predict_proba(X)[:, 1]
    decile = np.searchsorted(edges, proba)
    for k, weight in enumerate((None, proba, (purchased == "yes").astype(float))):
        sums[k] += np.bincount(decile, weight, minlength=10)
counts, mean_proba, purchase_rate = sums[0], sums[1] / sums[0], sums[2] / sums[0]
error = np.sqrt(purchase_rate * (1 - purchase_rate) / counts)
print(f"{counts.sum():,.0f} rows; largest difference {np.abs(purchase_rate - mean_proba).max():.4f}, ", end="")
print(f"{(np.abs(purchase_rate - mean_proba) / error).max():.1f} standard errors")
assert (np.abs(purchase_rate - mean_proba) < 4 * error).all()

figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
axis.axhline(0, color="0.5", linewidth=1)
axis.errorbar(mean_proba, purchase_rate - mean_proba, 1.96 * error, fmt="o", color="#0072B2", capsize=3)
axis.set(
    xlabel="mean predicted probability, by decile of rows",
    ylabel="purchase rate minus mean probability,\n95 % interval",
    xlim=(0, 1),
)
plt.show()

# %%
# CSV
# ---
# pandas reads the file in chunks.

csv_path = Path(folder.name) / "customers.csv"
with csv_path.open("w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(columns)
    X, purchased = rows(np.random.default_rng(1), 20_000)
    writer.writerows([*values, int(label)] for values, label in zip(X.tolist(), purchased, strict=True))
from_csv = NaturalGradientLogisticRegression().fit_batches(
    lambda: ((chunk[FEATURES], chunk["purchased"]) for chunk in pd.read_csv(csv_path, chunksize=5_000))
)
print(f"CSV: accuracy {from_csv.score(pd.DataFrame(X, columns=FEATURES), purchased.astype(int)):.3f}")

folder.cleanup()
