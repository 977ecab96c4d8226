"""A fit to a Parquet file that is never in memory as a whole: one line a reader.

Writes a file of two million rows in a temporary folder, fits it batch by batch, and removes it.
"""

import csv
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from sknatgrad import NaturalGradientLogisticRegression

N_ROWS, GROUP = 2_000_000, 200_000
FEATURES = ["age", "income", "visits", "distance"]
THETA = np.array([0.03, -2e-5, 0.4, -0.1])


def rows(random, n_rows):
    """Return people, and whether they bought."""
    X = np.column_stack(
        [
            random.uniform(18, 90, n_rows),
            random.lognormal(10.5, 0.5, n_rows),
            random.poisson(2, n_rows),
            random.exponential(10, n_rows),
        ]
    )
    return X, random.logistic(size=n_rows) < X @ THETA


def write(path):
    random = np.random.default_rng(0)
    writer = None
    for _ in range(N_ROWS // GROUP):
        X, bought = rows(random, GROUP)
        table = pa.table({**dict(zip(FEATURES, X.T, strict=True)), "bought": np.where(bought, "yes", "no")})
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


def main():
    with TemporaryDirectory() as folder:
        path = Path(folder) / "people.parquet"
        write(path)

        # Parquet: pyarrow hands out batches of a dataset, here of rows that a filter leaves
        dataset = ds.dataset(path)
        adults = ds.field("age") < 80
        columns = [*FEATURES, "bought"]
        model = NaturalGradientLogisticRegression().fit_batches(
            lambda: (
                (batch.select(FEATURES).to_pandas(), batch["bought"].to_numpy(zero_copy_only=False))
                for batch in dataset.to_batches(columns=columns, filter=adults, batch_size=100_000)
            )
        )
        print(f"Parquet, {path.stat().st_size / 1e6:.0f} MB: {model.n_passes_} pass, {model.n_iter_[0]} steps")
        for name, found, true in zip(model.feature_names_in_, model.coef_[0], THETA, strict=True):
            print(f"  {name:10s} {found: .6f}  (made with {true: .6f})")
        np.testing.assert_allclose(model.coef_[0], THETA, rtol=0.05)

        # CSV: pandas reads in chunks
        text = Path(folder) / "people.csv"
        with text.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            X, bought = rows(np.random.default_rng(1), 20_000)
            writer.writerows([*values, int(label)] for values, label in zip(X.tolist(), bought, strict=True))
        model = NaturalGradientLogisticRegression().fit_batches(
            lambda: ((chunk[FEATURES], chunk["bought"]) for chunk in pd.read_csv(text, chunksize=5_000))
        )
        print(f"CSV: accuracy {model.score(pd.DataFrame(X, columns=FEATURES), bought.astype(int)):.3f}")


if __name__ == "__main__":
    main()
