"""
A Dask cluster: one joint fit, or merged fits of chunks
=======================================================

On a cluster the rows stay on their workers, and only sums over them are sent. The fit is therefore the same as in
memory, whatever the number of chunks. The alternative is to fit each chunk separately and to combine the models: by the
mean of their coefficients, or by :func:`sknatgrad.merge`, which weights each model by its Fisher information and can
take one more step on all rows. Combining needs one or two rounds of communication, where the joint fit needs several,
but it loses accuracy. The script measures that loss in standard errors.

The cluster here consists of two workers in this process. To use another cluster, pass its address to ``Client``;
nothing else changes.
"""

import dask
import dask.array as da
import numpy as np
from dask.distributed import Client, LocalCluster
from matplotlib import pyplot as plt

from sknatgrad import NaturalGradientLogisticRegression, merge
from sknatgrad.dask import DaskNaturalGradientLogisticRegression, infer

N_ROWS, N_FEATURES = 40_000, 20
CHUNK_COUNTS = [2, 4, 8, 16, 32]


def data():
    """Return rows with correlated columns in units from 0.01 to 100, and labels."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, N_FEATURES)) + 0.5 * rng.normal(size=(N_ROWS, 1))
    y = X @ rng.normal(size=N_FEATURES) * 0.3 + rng.logistic(size=N_ROWS) > 0
    return X * np.geomspace(1e-2, 1e2, N_FEATURES), y.astype(int)


def combined_fits(X, y, n_chunks):
    """Return coefficients combined from separate fits to chunks: merged with one more step, merged, and averaged."""
    models = [
        NaturalGradientLogisticRegression(C=np.inf, tol=1e-12, store_covariance=True).fit(X[part], y[part])
        for part in np.array_split(np.arange(len(y)), n_chunks)
    ]
    return merge(models, X, y).coef_[0], merge(models).coef_[0], np.mean([model.coef_[0] for model in models], axis=0)


# %%
# The fits
# --------


def main():
    """Return, for each method and number of chunks, the largest distance from the fit in memory in standard errors."""
    X, y = data()
    reference = NaturalGradientLogisticRegression(C=np.inf, tol=1e-12, store_covariance=True).fit(X, y)
    errors = np.sqrt(reference.covariance_.diagonal()[:-1])
    distances = {"Dask": [], "merge and one step": [], "merge": [], "mean of coefficients": []}
    with (
        dask.config.set({"distributed.worker.memory.terminate": False}),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        for n_chunks in CHUNK_COUNTS:
            rows, labels = (da.from_array(part, chunks=-(-N_ROWS // n_chunks)) for part in (X, y))
            rows = rows.rechunk((rows.chunks[0], -1))
            model = DaskNaturalGradientLogisticRegression(C=np.inf).fit(rows, labels)
            coefs = [model.coef_[0], *combined_fits(X, y, n_chunks)]
            for of_method, coef in zip(distances.values(), coefs, strict=True):
                of_method.append(np.abs((coef - reference.coef_[0]) / errors).max())
        print(f"{model.n_passes_} passes over {rows.numblocks[0]} chunks, {model.n_iter_[0]} steps")
        result = infer(model, rows, labels)
        print("\n".join(str(result.summary()).splitlines()[:6]))
        np.testing.assert_allclose(result.standard_errors[0, :-1], errors, rtol=1e-6)
    return distances


distances = main()
print(f"\nlargest distance from the fit in memory, in standard errors\n{'chunks':22}", end="")
print("".join(f"{n_chunks:>9}" for n_chunks in CHUNK_COUNTS))
for name, of_method in distances.items():
    print(f"{name:22}" + "".join(f"{distance:9.1e}" for distance in of_method))
assert max(distances["Dask"]) < 1e-5
assert distances["merge and one step"][-1] < 0.1 * distances["merge"][-1]

# %%
# The picture
# -----------

figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
for (name, of_method), (colour, style) in zip(
    distances.items(), (("#0072B2", "o-"), ("#56B4E9", "v:"), ("#009E73", "^--"), ("#D55E00", "s-.")), strict=True
):
    axis.plot(CHUNK_COUNTS, of_method, style, color=colour, label=name)
axis.axhline(1, color="0.5", linewidth=1)
axis.annotate("one standard error", (CHUNK_COUNTS[0], 1), xytext=(0, 4), textcoords="offset points")
axis.set(
    xscale="log",
    yscale="log",
    ylim=(1e-15, 1e2),
    xticks=CHUNK_COUNTS,
    xlabel=f"number of chunks ({N_ROWS:,} rows in total)",
    ylabel="largest distance from the fit in memory,\nstandard errors",
)
axis.minorticks_off()
axis.xaxis.set_major_formatter("{x:g}")
axis.legend(frameon=False, loc="center right", bbox_to_anchor=(1, 0.4))
plt.show()
