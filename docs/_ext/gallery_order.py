"""In which order the gallery shows the examples."""

from pathlib import Path

# by the name of the script; one that is not here comes behind, by name
ORDER = ["quickstart", "distribution_space", "textbook_experiment"]


class Listed:
    """Sort key of sphinx-gallery: the place in `ORDER`."""

    def __init__(self, src_dir):
        """Take the folder of the scripts, which the order does not need."""

    def __call__(self, filename):
        """Return what a script is sorted by."""
        name = Path(filename).stem
        return (ORDER.index(name) if name in ORDER else len(ORDER), name)
