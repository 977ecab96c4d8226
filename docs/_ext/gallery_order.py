"""In which order the gallery shows the examples."""

from pathlib import Path

# by the name of the script; one that is not here comes behind, by name
ORDER = [
    "quickstart",
    "distribution_space",
    "kl_and_its_quadratic",
    "reparametrisation",
    "textbook_experiment",
    "six_paths",
    "adam_and_the_fisher",
    "limits_of_the_empirical_fisher",
    "raw_data_against_lbfgs",
    "model_selection",
    "forest_plot",
    "summary_beside_r",
    "interval_bands",
    "uncertainty_map",
    "regularisation_path",
    "streaming_against_sgd",
    "parquet_batches",
    "dask_cluster",
]


class Listed:
    """Sort key of sphinx-gallery: the place in `ORDER`."""

    def __init__(self, src_dir):
        """Take the folder of the scripts, which the order does not need."""

    def __call__(self, filename):
        """Return what a script is sorted by."""
        name = Path(filename).stem
        return (ORDER.index(name) if name in ORDER else len(ORDER), name)
