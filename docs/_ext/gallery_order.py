"""Order of the examples in the gallery."""

from pathlib import Path

# names of the scripts; scripts that are not listed follow in alphabetical order
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
    "choosing_c",
    "forest_plot",
    "summary_beside_r",
    "influential_rows",
    "bootstrap_intervals",
    "interval_bands",
    "uncertainty_map",
    "regularisation_path",
    "streaming_against_sgd",
    "parquet_batches",
    "dask_cluster",
]


class GalleryOrder:
    """Sort key of sphinx-gallery: the position of a script in `ORDER`."""

    def __init__(self, src_dir):
        """Accept the folder of the scripts, which sphinx-gallery passes and the order does not need."""

    def __call__(self, filename):
        """Return the sort key of a script."""
        name = Path(filename).stem
        return (ORDER.index(name) if name in ORDER else len(ORDER), name)
