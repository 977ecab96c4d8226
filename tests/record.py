"""Write down what fits answer, to the bit, and compare two such records.

    python tests/record.py write before.pickle
    python tests/record.py compare before.pickle after.pickle

Data sets x ways to fit x metrics: coefficients, iterations, products, passes, and the texts of warnings and errors.
"""

import contextlib
import io
import pickle
import re
import sys
import tempfile
import warnings
from pathlib import Path
from time import perf_counter

import numpy as np
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine

import sknatgrad
from sknatgrad import NaturalGradientLogisticRegression, fisher_information, kl_divergence, merge
from sknatgrad.inference import infer

FISHERS = ["true", "empirical", "diagonal", "kronecker", "monte_carlo", "identity"]
NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")
FITTED = (
    "coef_",
    "intercept_",
    "classes_",
    "n_iter_",
    "loss_curve_",
    "kl_curve_",
    "converged_",
    "n_passes_",
    "covariance_",
)


def random_text(n_rows, n_words, words_a_row, seed=0):
    rng = np.random.default_rng(seed)
    words = rng.integers(0, n_words, size=n_rows * words_a_row)
    X = sparse.csr_matrix(
        (rng.uniform(size=words.size), words, np.arange(0, words.size + 1, words_a_row)), shape=(n_rows, n_words)
    )
    X.sum_duplicates()
    return X, rng.normal(size=n_words)


def labels_for(X, n_classes, seed):
    rng = np.random.default_rng(seed)
    coef = rng.normal(size=(X.shape[1], n_classes))
    logits = X @ coef
    logits = 2.0 * logits / logits.std()
    return (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


def datasets():
    rng = np.random.default_rng(0)
    sets = {
        "breast_cancer": load_breast_cancer(return_X_y=True),
        "wine": load_wine(return_X_y=True),
        "iris": load_iris(return_X_y=True),
        "digits": load_digits(return_X_y=True),
    }
    text, _ = random_text(3000, 4000, 12)
    sets["text"] = text, labels_for(text, 2, 1)
    sets["text of three classes"] = text, labels_for(text, 3, 2)
    X = rng.normal(size=(60_000, 6)) * 10.0 ** np.arange(-3, 3)
    sets["tall"] = X, labels_for(X / 10.0 ** np.arange(-3, 3), 2, 3)
    sets["tall of three classes"] = X[:30_000], labels_for(X[:30_000] / 10.0 ** np.arange(-3, 3), 3, 3)
    X = rng.normal(size=(60, 200))
    sets["wide"] = X, labels_for(X, 2, 4)
    X = rng.normal(size=(4000, 300)) @ (np.eye(300) + 0.05 * rng.normal(size=(300, 300)))
    sets["matrix-free"] = X, labels_for(X, 2, 5)
    X = rng.normal(size=(3000, 12))
    sets["many classes"] = X, labels_for(X, 40, 6)
    X = rng.normal(size=(3000, 60))
    sets["columns and classes"] = X, labels_for(X, 12, 7)
    X, y = load_breast_cancer(return_X_y=True)
    sets["float32"] = X.astype(np.float32), y
    sets["fortran"] = np.asfortranarray(X), y
    sets["integers"] = np.rint(X).astype(np.int32), y
    X, y = load_iris(return_X_y=True)
    sets["collinear"] = np.c_[X, X[:, 0] - X[:, 1]], np.array(["a", "b", "c"])[y]
    X = rng.normal(size=(200, 4))
    sets["separable"] = X, (X[:, 0] > 0).astype(int)
    y = (rng.random(200) < 0.5).astype(int)
    sets["separated in part"] = np.c_[X, (y == 1) & (rng.random(200) < 0.3)], y
    return sets


class Record:
    def __init__(self):
        self.cases, self.seconds = {}, {}

    @contextlib.contextmanager
    def case(self, name):
        said = {"arrays": {}, "texts": []}
        assert name not in self.cases, name
        self.cases[name] = said
        printed = io.StringIO()
        passes = counting()
        begun = perf_counter()
        with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(printed), passes as count:
            warnings.simplefilter("always")
            try:
                yield said["arrays"]
            except Exception as error:  # noqa: BLE001 - it is what is recorded
                said["texts"].append(f"{type(error).__name__}: {error}")
        said["texts"] += [f"{each.category.__name__}: {each.message}" for each in caught]
        said["texts"] += [re.sub(r" at [\d.]+ ms a product", "", line) for line in printed.getvalue().splitlines()]
        said["arrays"]["passes"] = np.array(count)
        self.seconds[name] = perf_counter() - begun

    def fit(self, name, model, *args, method="fit", **kwargs):
        with self.case(name) as arrays:
            getattr(model.set_params(verbose=2), method)(*args, **kwargs)
            keep(arrays, model)
        return model


def keep(arrays, model):
    for name in FITTED:
        if hasattr(model, name):
            arrays[name] = np.asarray(getattr(model, name))


@contextlib.contextmanager
def counting():
    """Count the passes over rows in memory."""
    try:
        from sknatgrad._rows.memory import MemorySource
    except ImportError:
        from sknatgrad._sources.memory import MemorySource
    count, total = [0], MemorySource.total

    def counted(self, kernel):
        count[0] += 1
        return total(self, kernel)

    MemorySource.total = counted
    try:
        yield count
    finally:
        MemorySource.total = total


@contextlib.contextmanager
def room_for_a_sample(n_bytes):
    """Let batches keep so many bytes of their rows."""
    if hasattr(NaturalGradientLogisticRegression, "_limits"):
        from sknatgrad._limits import Limits

        holder, name, value = NaturalGradientLogisticRegression, "_limits", Limits(sample_bytes=n_bytes)
    else:
        try:
            from sknatgrad import _batches as holder
        except ImportError:
            from sknatgrad._estimator import fit_batches as holder
        name, value = "SAMPLE_BYTES", n_bytes
    before = getattr(holder, name)
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, before)


def weights_for(n_rows):
    rng = np.random.default_rng(9)
    weight = rng.uniform(0.1, 3.0, size=n_rows)
    weight[::7] = 0.0
    return weight


def write():
    record, sets, Model = Record(), datasets(), NaturalGradientLogisticRegression
    for name, (X, y) in sets.items():
        record.fit(f"{name}: true", Model(), X, y)
        record.fit(f"{name}: true, C=inf", Model(C=np.inf), X, y)
    for name in ("breast_cancer", "wine", "digits", "text of three classes", "separated in part"):
        X, y = sets[name]
        for fisher in FISHERS[1:]:
            if name.startswith("text") and fisher == "kronecker":
                continue  # minutes, for factors of 4,000 columns
            record.fit(f"{name}: {fisher}", Model(fisher=fisher, random_state=0, max_iter=30), X, y)
            record.fit(f"{name}: {fisher}, C=100", Model(fisher=fisher, C=100.0, random_state=0, max_iter=15), X, y)
    for name in ("breast_cancer", "digits", "text", "tall of three classes", "matrix-free"):
        X, y = sets[name]
        weight = weights_for(len(y))
        record.fit(f"{name}: weights", Model(class_weight="balanced", C=0.3), X, y, weight)
        record.fit(f"{name}: one weight", Model(), X, y, 2.0)
        record.fit(f"{name}: no intercept", Model(fit_intercept=False, tol=1e-4), X, y)
        record.fit(f"{name}: covariance", Model(store_covariance=True), X, y)
    for name in ("breast_cancer", "wine"):
        X, y = sets[name]
        record.fit(f"{name}: textbook", Model(learning_rate=0.5, max_iter=20), X, y)
        record.fit(f"{name}: textbook identity", Model(fisher="identity", learning_rate=1e-7, max_iter=20), X, y)
        record.fit(f"{name}: overshoots", Model(fisher="empirical", learning_rate=50.0, max_iter=20), X, y)
        record.fit(f"{name}: max_kl", Model(max_kl=0.05), X, y)
        record.fit(f"{name}: few", Model(max_iter=2), X, y)
        record.fit(f"{name}: tol 0", Model(tol=0.0, max_iter=50), X, y)
        record.fit(f"{name}: tol 1e-2", Model(tol=1e-2), X, y)
        record.fit(f"{name}: undamped", Model(damping=0.0, C=1e6), X, y)
        model = record.fit(f"{name}: prior", Model(prior=(0.1, 2.0), store_covariance=True), X, y)
        record.fit(f"{name}: prior by column", Model(prior=(0.0, np.arange(1.0, X.shape[1] + 1))), X, y)
        q = len(model.coef_)
        each = np.random.default_rng(1).uniform(0.5, 2.0, size=(q, X.shape[1] + 1))
        record.fit(f"{name}: prior by class", Model(prior=(0.0, each)), X, y)
        record.fit(f"{name}: prior model", Model(prior=model), X, y)
        for fisher in ("diagonal", "kronecker"):
            earlier = Model(fisher=fisher, store_covariance=True).fit(X, y)
            record.fit(f"{name}: prior {fisher} model", Model(prior=earlier), X, y)
        record.fit(f"{name}: warm", Model(warm_start=True).fit(X, y).set_params(C=2.0), X, y)
        with record.case(f"{name}: predictions") as arrays:
            model = Model(store_covariance=True).fit(X, y)
            for method in (
                "predict",
                "decision_function",
                "predict_proba",
                "predict_log_proba",
                "decision_function_std",
                "predict_proba_interval",
                "predict_proba_averaged",
            ):
                arrays[method] = np.asarray(getattr(model, method)(X[:40]))
            arrays["monte carlo"] = model.predict_proba_averaged(X[:40], "monte_carlo", random_state=0)
            arrays["sampled"], _ = model.sample_coef(5, random_state=0)
            for fisher in FISHERS:
                arrays[f"information {fisher}"] = fisher_information(model, X, y, kind=fisher, random_state=0)
            arrays["divergence"] = np.array(kl_divergence(model, Model(C=0.1).fit(X, y), X))
    streams(record, sets)
    out_of_memory(record, sets)
    inference(record, sets)
    errors(record, sets)
    for name in sorted(record.seconds, key=record.seconds.get)[:-21:-1]:
        print(f"{record.seconds[name]:6.1f} s  {name}")
    return record.cases


def streams(record, sets):
    Model = NaturalGradientLogisticRegression
    for name in ("wine", "breast_cancer", "digits"):
        X, y = sets[name]
        order = np.random.default_rng(2).permutation(len(y))
        X, y = X[order], y[order]
        for fisher in FISHERS[:5]:
            if name == "digits" and fisher not in {"true", "diagonal"}:
                continue
            model = Model(fisher=fisher, random_state=0, store_covariance=name == "wine")
            with record.case(f"{name}: stream of {fisher}") as arrays:
                for start in range(0, len(y), 40):
                    part = slice(start, start + 40)
                    model.partial_fit(X[part], y[part], np.unique(y))
                keep(arrays, model)
        if name == "digits":
            continue
        with record.case(f"{name}: forgetting") as arrays:
            model = Model(forgetting=0.99, C=np.inf, class_weight="balanced")
            for start in range(0, len(y), 40):
                model.partial_fit(X[start : start + 40], y[start : start + 40], np.unique(y))
            keep(arrays, model)
        with record.case(f"{name}: merged") as arrays:
            shards = [Model().partial_fit(X[k::3], y[k::3], np.unique(y)) for k in range(3)]
            keep(arrays, merge(shards))
            arrays["with rows"] = merge(shards, X, y).coef_
    X, y = sets["tall"]
    with record.case("tall: stream") as arrays:
        model = Model()
        for start in range(0, 20_000, 500):
            model.partial_fit(X[start : start + 500], y[start : start + 500], [0, 1])
        keep(arrays, model)


def out_of_memory(record, sets):
    import dask
    import dask.array as da

    from sknatgrad.dask import DaskNaturalGradientLogisticRegression

    Model = NaturalGradientLogisticRegression
    for name in ("tall", "tall of three classes", "matrix-free", "digits"):
        X, y = sets[name]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "X.npy"
            np.save(path, X)
            record.fit(f"{name}: memory map", Model(), np.load(path, mmap_mode="r"), y)
            record.fit(f"{name}: gaps", Model(C=np.inf, max_iter=30), np.load(path, mmap_mode="r")[::3], y[::3])

        def batches(X=X, y=y):
            for start in range(0, len(y), 1000):
                yield X[start : start + 1000], y[start : start + 1000]

        record.fit(f"{name}: batches kept", Model(), batches, method="fit_batches")
        for C in (1.0, np.inf):
            with room_for_a_sample(2**19):
                record.fit(
                    f"{name}: batches, C={C}", Model(C=C, class_weight="balanced"), batches, method="fit_batches"
                )
        with room_for_a_sample(2**19):
            record.fit(
                f"{name}: batches, diagonal", Model(fisher="diagonal", max_iter=8), batches, method="fit_batches"
            )
        with dask.config.set(scheduler="synchronous"):
            dX, dy = da.from_array(X, chunks=(max(len(y) // 5, 1), -1)), da.from_array(y, chunks=max(len(y) // 5, 1))
            model = record.fit(f"{name}: dask", DaskNaturalGradientLogisticRegression(C=2.0), dX, dy)
            with record.case(f"{name}: dask infer") as arrays:
                from sknatgrad.dask import infer as dask_infer

                model = DaskNaturalGradientLogisticRegression(C=np.inf).fit(dX[:, :5], dy)
                keep(arrays, model)
                result = dask_infer(model, dX[:, :5], dy, covariance="robust")
                arrays["standard errors"] = result.standard_errors
                arrays["proba"] = model.predict_proba(dX[:50, :5]).compute()
                arrays["score"] = np.array(model.score(dX[:, :5], dy))


def inference(record, sets):
    Model = NaturalGradientLogisticRegression
    for name in (
        "breast_cancer",
        "iris",
        "tall of three classes",
        "text",
        "separable",
        "separated in part",
        "collinear",
        "wide",
    ):
        X, y = sets[name]
        columns = None if name != "text" else [0, 1, 7]
        for C in (1.0, np.inf):
            with record.case(f"{name}: fit for infer, C={C}"):
                model = Model(C=C).fit(X, y)
            for covariance in ("fisher", "frequentist", "robust", "HC1", "cluster"):
                with record.case(f"{name}: infer {covariance}, C={C}") as arrays:
                    groups = np.arange(len(y)) % 37 if covariance == "cluster" else None
                    result = infer(model, X, y, covariance=covariance, groups=groups, features=columns)
                    arrays["params"], arrays["covariance"] = result.params, result.covariance
                    arrays["numbers"] = np.array(
                        [result.aic, result.bic, result.effective_dof, result.pseudo_r2, result.n]
                    )
                    print(result.summary())
                    arrays["interval"] = result.conf_int(0.9)
                    if covariance in {"fisher", "robust"}:
                        arrays["wald"] = np.array(result.wald_test(np.eye(result.params.size)[:2]))
                        if columns is None:
                            arrays["effects"] = result.marginal_effects().effects
                            arrays["errors of effects"] = result.marginal_effects().standard_errors
                        if np.inf == C:
                            arrays["score"] = np.array(
                                result.score_test(np.random.default_rng(0).normal(size=(len(y), 2)))
                            )
                            arrays["matrix"] = np.array(result.information_matrix_test())
            if np.inf == C and columns is None:
                with record.case(f"{name}: likelihood ratio") as arrays:
                    smaller = Model(C=C).fit(X[:, :-1], y)
                    result = infer(model, X, y)
                    arrays["lr"] = np.array(result.lr_test(infer(smaller, X[:, :-1], y)))


def errors(record, sets):
    Model = NaturalGradientLogisticRegression
    X, y = sets["iris"]
    bad = X.copy()
    bad[3, 1] = np.nan
    huge = X.copy()
    huge[3, 1] = 1e200
    two = y > 0
    model = Model(store_covariance=True).fit(X, y)
    calls = {
        "nan": lambda: Model().fit(bad, y),
        "huge": lambda: Model().fit(huge, y),
        "one class": lambda: Model().fit(X, np.zeros(150)),
        "negative weight": lambda: Model().fit(X, y, -np.ones(150)),
        "no weight": lambda: Model().fit(X, y, np.zeros(150)),
        "weights of another length": lambda: Model().fit(X, y, np.ones(3)),
        "huge weight": lambda: Model().fit(X, y, np.full(150, 1e307)),
        "class weight": lambda: Model(class_weight={0: -1}).fit(X, y),
        "missing label": lambda: Model().fit(X, np.where(y > 1, np.nan, y)),
        "fisher": lambda: Model(fisher="x").fit(X, y),
        "words": lambda: Model().fit(np.array([["a", "b"]] * 4), [0, 1, 0, 1]),
        "warm": lambda: Model(warm_start=True).fit(X, y).fit(X[:, :2], y),
        "prior of three": lambda: Model(prior=(1, 2, 3)).fit(X, y),
        "prior of words": lambda: Model(prior=("a", 1)).fit(X, y),
        "prior of another shape": lambda: Model(prior=(np.ones(9), 1)).fit(X, y),
        "negative prior": lambda: Model(prior=(0, -1)).fit(X, y),
        "indefinite prior": lambda: Model(prior=(0, -np.eye(15))).fit(X, y),
        "unfitted prior": lambda: Model(prior=Model()).fit(X, y),
        "prior without information": lambda: Model(prior=Model().fit(X, y)).fit(X, y),
        "prior of other classes": lambda: Model(prior=model).fit(X, two),
        "partial without classes": lambda: Model().partial_fit(X, y),
        "partial with others": lambda: Model().partial_fit(X, y, [0, 1, 2]).partial_fit(X, y, [0, 1, 2, 3]),
        "partial unknown": lambda: Model().partial_fit(X, y, [0, 1]),
        "partial changed": lambda: Model().partial_fit(X, y, [0, 1, 2]).set_params(fisher="diagonal").partial_fit(X, y),
        "partial again": lambda: Model().fit(X, y).partial_fit(X, y),
        "partial huge": lambda: Model().partial_fit(huge, y, [0, 1, 2]),
        "batches once": lambda: Model().fit_batches(iter([(X, y)])),
        "batches of one": lambda: Model().fit_batches([X]),
        "no batches": lambda: Model().fit_batches([]),
        "batches nan": lambda: Model().fit_batches([(X, y), (bad, y)]),
        "batches of words": lambda: Model().fit_batches([(X, y), (X, y.astype(str))]),
        "merge none": lambda: merge([]),
        "merge unlike": lambda: merge([Model().partial_fit(X, y, [0, 1, 2]), Model(C=2).partial_fit(X, y, [0, 1, 2])]),
        "merge fits": lambda: merge([Model().fit(X, y)]),
        "merge other rows": lambda: merge([Model().partial_fit(X, y, [0, 1, 2])], X[:20], y[:20]),
        "std without covariance": lambda: Model().fit(X, y).decision_function_std(X),
        "level": lambda: model.predict_proba_interval(X, 2.0),
        "method": lambda: model.predict_proba_averaged(X, "x"),
        "draws": lambda: model.sample_coef(0),
        "kind": lambda: fisher_information(model, X, kind="x"),
        "empirical": lambda: fisher_information(model, X, kind="empirical"),
        "classes": lambda: kl_divergence(model, Model().fit(X, two), X),
        "infer covariance": lambda: infer(model, X, y, covariance="x"),
        "infer weights": lambda: infer(model, X, y, weights="x"),
        "infer sampling": lambda: infer(model, X, y, weights="sampling", sample_weight=np.full(150, 2.0)),
        "infer groups": lambda: infer(model, X, y, groups=y),
        "infer no groups": lambda: infer(model, X, y, covariance="cluster"),
        "infer other rows": lambda: infer(model, X[::-1] + 1.0, y),
        "infer reference": lambda: infer(model, X, y, reference=7),
        "infer features": lambda: infer(model, X, y, features=["nothing"]),
        "infer penalised": lambda: infer(model, X, y).score_test(X),
        "infer lr": lambda: infer(model, X, y).lr_test(infer(model, X, y)),
        "infer wald": lambda: infer(model, X, y).wald_test(["nothing"]),
        "other columns": lambda: model.predict(X[:, :2]),
    }
    for name, call in calls.items():
        with record.case(f"error: {name}"):
            call()


def compare(before, after):
    before, after = (pickle.loads(Path(path).read_bytes()) for path in (before, after))  # noqa: S301 - our own
    failed, texts = sorted(set(before) ^ set(after)), {}
    print(f"{len(before)} cases before, {len(after)} after; not in both: {failed}")
    for name in before.keys() & after.keys():
        old, new = before[name], after[name]
        for key in sorted(old["arrays"].keys() | new["arrays"].keys()):
            one, two = old["arrays"].get(key), new["arrays"].get(key)
            if one is None or two is None or one.shape != two.shape or one.dtype != two.dtype:
                failed.append(
                    f"{name}: {key} {None if one is None else one.shape} {None if two is None else two.shape}"
                )
            elif one.tobytes() != two.tobytes():
                if one.dtype.kind == "f":
                    far = np.nanmax(abs(one - two)) / max(np.nanmax(abs(one)), 1e-300)
                    failed.append(f"{name}: {key} differs by {far:.1e} of the largest")
                else:
                    failed.append(f"{name}: {key} {one.ravel()[:5]} {two.ravel()[:5]}")
        if len(old["texts"]) != len(new["texts"]):
            failed.append(
                f"{name}: {len(old['texts'])} texts, {len(new['texts'])}: {old['texts'][-2:]} {new['texts'][-2:]}"
            )
            continue
        for one, two in zip(old["texts"], new["texts"], strict=True):
            if NUMBER.findall(one) != NUMBER.findall(two):
                failed.append(f"{name}: numbers in\n    {one}\n    {two}")
            elif one != two:
                texts.setdefault((NUMBER.sub("#", one), NUMBER.sub("#", two)), name)
    print("\n".join(failed))
    print(f"{len(failed)} differences in numbers; {len(texts)} texts reworded")
    if "--texts" in sys.argv:
        for (one, two), name in texts.items():
            print(f"- {name}\n  {one}\n  {two}")
    return bool(failed)


if __name__ == "__main__":
    if sys.argv[1] == "write":
        cases = write()
        Path(sys.argv[2]).write_bytes(pickle.dumps(cases))
        print(f"{len(cases)} cases of {sknatgrad.__file__}")
    else:
        sys.exit(compare(sys.argv[2], sys.argv[3]))
