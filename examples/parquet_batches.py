"""
Files, read in batches
======================

A fit to a Parquet file, batch by batch, and to a CSV file: one line a reader. Of the first pass, up to 256 MiB of the
rows are kept, as a sample; a larger file, as this one, is read a few times more. A smaller one is read once.

Writes a file of two million rows in a temporary folder, fits it, compares what it says with the rows, and removes it.
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

N_ROWS, GROUP = 2_000_000, 200_000
MONTHS = 20
FEATURES = ["age", "income", "visits", "distance", *[f"spent_{month}_months_ago" for month in range(1, MONTHS + 1)]]
THETA = np.array([0.03, -2e-5, 0.4, -0.1, *0.02 * 0.8 ** np.arange(MONTHS)])


def rows(random, n_rows):
    """Return people, and whether they bought."""
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
    """Write people to a Parquet file, a group of rows at a time."""
    random = np.random.default_rng(0)
    writer = None
    for _ in range(N_ROWS // GROUP):
        X, bought = rows(random, GROUP)
        table = pa.table({**dict(zip(FEATURES, X.T, strict=True)), "bought": np.where(bought, "yes", "no")})
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


folder = TemporaryDirectory()
path = Path(folder.name) / "people.parquet"
write(path)

# %%
# Parquet
# -------
# pyarrow hands out batches of a dataset, here of rows that a filter leaves. It is told not to keep what it has read
# until the file ends.

dataset = ds.dataset(path)
columns, adults = [*FEATURES, "bought"], ds.field("age") < 80
scan = {"batch_readahead": 1, "fragment_scan_options": ds.ParquetFragmentScanOptions(pre_buffer=False)}


def batches():
    """Begin a pass: give each batch as features and labels."""
    for batch in dataset.to_batches(columns=columns, filter=adults, batch_size=100_000, **scan):
        yield batch.select(FEATURES).to_pandas(), batch["bought"].to_numpy(zero_copy_only=False)


model = NaturalGradientLogisticRegression().fit_batches(batches)
print(f"Parquet, {path.stat().st_size / 1e6:.0f} MB: passes {model.n_passes_}, steps {model.n_iter_[0]}")
for name, found, true in list(zip(model.feature_names_in_, model.coef_[0], THETA, strict=True))[:6]:
    print(f"  {name:20s} {found: .6f}  (made with {true: .6f})")
np.testing.assert_allclose(model.coef_[0], THETA, rtol=0.02, atol=0.002)
assert model.n_passes_ > 1

# %%
# Does it fit?
# ------------
# One more pass over the file: the share that bought beside the mean probability, by decile of the probability. What is
# added up is 30 numbers, whatever the number of rows.

edges = np.quantile(model.predict_proba(next(batches())[0])[:, 1], np.arange(1, 10) / 10)
sums = np.zeros((3, 10))  # rows, probabilities, buyers
for X, bought in batches():
    proba = model.predict_proba(X)[:, 1]
    decile = np.searchsorted(edges, proba)
    for k, weight in enumerate((None, proba, (bought == "yes").astype(float))):
        sums[k] += np.bincount(decile, weight, minlength=10)
counts, mean_proba, share = sums[0], sums[1] / sums[0], sums[2] / sums[0]
error = np.sqrt(share * (1 - share) / counts)
print(f"{counts.sum():,.0f} rows; largest difference {np.abs(share - mean_proba).max():.4f}, ", end="")
print(f"{(np.abs(share - mean_proba) / error).max():.1f} standard errors")
assert (np.abs(share - mean_proba) < 4 * error).all()

figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
axis.axhline(0, color="0.5", linewidth=1)
axis.errorbar(mean_proba, share - mean_proba, 1.96 * error, fmt="o", color="#0072B2", capsize=3)
axis.set(
    xlabel="mean predicted probability, by decile of rows",
    ylabel="share that bought minus mean probability,\n95 % interval",
    xlim=(0, 1),
)
plt.show()

# %%
# CSV
# ---
# pandas reads in chunks.

text = Path(folder.name) / "people.csv"
with text.open("w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(columns)
    X, bought = rows(np.random.default_rng(1), 20_000)
    writer.writerows([*values, int(label)] for values, label in zip(X.tolist(), bought, strict=True))
from_csv = NaturalGradientLogisticRegression().fit_batches(
    lambda: ((chunk[FEATURES], chunk["bought"]) for chunk in pd.read_csv(text, chunksize=5_000))
)
print(f"CSV: accuracy {from_csv.score(pd.DataFrame(X, columns=FEATURES), bought.astype(int)):.3f}")

folder.cleanup()
