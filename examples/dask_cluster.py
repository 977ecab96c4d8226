"""
A Dask cluster, and what is lost on the way
===========================================

On a cluster rows stay where they are, and sums over them travel. So the fit is that of all rows at once, in however
many chunks they lie. The alternative is to fit each chunk alone and to put the models together: by the mean of their
coefficients, or by :func:`sknatgrad.merge`, which weighs each by its Fisher information and can take one more step on
all rows. That is one or two rounds of messages where the fit takes a handful, and it pays for it: this is how much, in
standard errors.

The cluster here is two workers in this process. ``Client("tcp://...")`` or ``LocalCluster()`` in its place, and nothing
else changes.
"""

import dask
import dask.array as da
import numpy as np
from dask.distributed import Client, LocalCluster
from matplotlib import pyplot as plt

from sknatgrad import NaturalGradientLogisticRegression, merge
from sknatgrad.dask import DaskNaturalGradientLogisticRegression, infer

N_ROWS, N_FEATURES = 40_000, 20
SHARDS = [2, 4, 8, 16, 32]


def data():
    """Return rows in units from 0.01 to 100 that correlate, and labels."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, N_FEATURES)) + 0.5 * rng.normal(size=(N_ROWS, 1))
    y = X @ rng.normal(size=N_FEATURES) * 0.3 + rng.logistic(size=N_ROWS) > 0
    return X * np.geomspace(1e-2, 1e2, N_FEATURES), y.astype(int)


def shards_together(X, y, n_shards):
    """Return coefficients from fits to each shard alone: merged with one more step, merged, and averaged."""
    models = [
        NaturalGradientLogisticRegression(C=np.inf, store_covariance=True).fit(X[part], y[part])
        for part in np.array_split(np.arange(len(y)), n_shards)
    ]
    return merge(models, X, y).coef_[0], merge(models).coef_[0], np.mean([model.coef_[0] for model in models], axis=0)


# %%
# The fits
# --------


def main():
    """Fit all ways, and return how far each is from the fit in memory, in standard errors, by number of chunks."""
    X, y = data()
    reference = NaturalGradientLogisticRegression(C=np.inf, store_covariance=True).fit(X, y)
    errors = np.sqrt(reference.covariance_.diagonal()[:-1])
    ways = {"Dask": [], "merge, and a step": [], "merge": [], "mean of coefficients": []}
    with (
        dask.config.set({"distributed.worker.memory.terminate": False}),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        for n_shards in SHARDS:
            rows, labels = (da.from_array(part, chunks=-(-N_ROWS // n_shards)) for part in (X, y))
            rows = rows.rechunk((rows.chunks[0], -1))
            model = DaskNaturalGradientLogisticRegression(C=np.inf).fit(rows, labels)
            found = [model.coef_[0], *shards_together(X, y, n_shards)]
            for coefs, coef in zip(ways.values(), found, strict=True):
                coefs.append(np.abs((coef - reference.coef_[0]) / errors).max())
        print(f"{model.n_passes_} passes over {rows.numblocks[0]} chunks, {model.n_iter_[0]} steps")
        result = infer(model, rows, labels)
        print("\n".join(str(result.summary()).splitlines()[:6]))
        np.testing.assert_allclose(result.standard_errors[0, :-1], errors, rtol=1e-6)
    return ways


ways = main()
print(f"\nlargest distance from the fit in memory, in standard errors\n{'chunks':22}", end="")
print("".join(f"{n_shards:>9}" for n_shards in SHARDS))
for name, distances in ways.items():
    print(f"{name:22}" + "".join(f"{distance:9.1e}" for distance in distances))
assert max(ways["Dask"]) < 1e-6
assert ways["merge, and a step"][-1] < 0.1 * ways["merge"][-1]

# %%
# The picture
# -----------

figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
for (name, distances), (colour, style) in zip(
    ways.items(), (("#0072B2", "o-"), ("#56B4E9", "v:"), ("#009E73", "^--"), ("#D55E00", "s-.")), strict=True
):
    axis.plot(SHARDS, distances, style, color=colour, label=name)
axis.axhline(1, color="0.5", linewidth=1)
axis.annotate("one standard error", (SHARDS[0], 1), xytext=(0, 4), textcoords="offset points")
axis.set(
    xscale="log",
    yscale="log",
    ylim=(1e-15, 1e2),
    xticks=SHARDS,
    xlabel=f"chunks that {N_ROWS:,} rows lie in",
    ylabel="largest distance from the fit in memory,\nstandard errors",
)
axis.minorticks_off()
axis.xaxis.set_major_formatter("{x:g}")
axis.legend(frameon=False, loc="center right", bbox_to_anchor=(1, 0.4))
plt.show()
