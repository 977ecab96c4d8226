"""Configuration of the documentation site, which `make docs` builds without network access, with warnings as errors.

`DOCS_INVENTORIES=1 make docs` also downloads the inventories of other projects, so that their names in docstrings
become links. Otherwise the names are set as code.
"""

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from sknatgrad import __version__

project = "sknatgrad"
author = "the sknatgrad developers"
release = version = __version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "repository_links",
    "table_numbers",
]
templates_path = ["_templates"]
# files that the build writes, and folders of scripts and templates
exclude_patterns = ["_build", "_ext", "_templates", "auto_examples/**/*.md", "auto_examples/**/*.ipynb"]
nitpicky = True
default_role = "code"  # `name` in a docstring is code

# the projects whose names become links if their inventories are downloaded
INVENTORIES = {
    "python": ("https://docs.python.org/3/", None),
    "numpy": ("https://numpy.org/doc/stable/", None),
    "scipy": ("https://docs.scipy.org/doc/scipy/", None),
    "sklearn": ("https://scikit-learn.org/stable/", None),
    "pandas": ("https://pandas.pydata.org/docs/", None),
    "matplotlib": ("https://matplotlib.org/stable/", None),
    "dask": ("https://docs.dask.org/en/stable/", None),
}
if os.environ.get("DOCS_INVENTORIES"):
    intersphinx_mapping = INVENTORIES
else:
    nitpick_ignore_regex = [("py:.*", rf"({'|'.join(INVENTORIES)})(\..*)?")]

# --- pages in Markdown
myst_enable_extensions = ["attrs_block", "colon_fence", "deflist"]
myst_fence_as_directive = ["math"]  # other Markdown viewers also typeset ```math
myst_heading_anchors = 4
highlight_options = {"python": {"stripnl": True}}  # without the blank line that ends a doctest

# --- the interface
autosummary_generate = True
# `sknatgrad.onnx` is documented even if these packages are not installed
autodoc_mock_imports = [name for name in ("onnx", "skl2onnx") if find_spec(name) is None]
toc_object_entries_show_parents = "hide"
autodoc_preserve_defaults = True  # show default values as written in the source
autodoc_typehints = "none"  # the docstrings give the types, with shapes
numpydoc_show_class_members = False  # the template of a class lists them
numpydoc_validation_checks = {
    "all",
    "ES01",  # an extended summary is not always needed
    "EX01",  # the example of a class and the user guide show the methods
    "RT02",  # return values have names, as in scikit-learn
    "SA01",  # a "See Also" section is not always needed
}
numpydoc_validation_exclude = {
    # created by `infer` and `influence`: their attributes are documented, their constructors are not public
    r"^sknatgrad\.inference\.(AliasedColumn|ChiSquared|InferenceResult|InfluenceResult|MarginalEffects|OddsRatios|Summary)(\.of|\.quadratic)?$",
    r"^sknatgrad\.LogisticPath$",
    # the methods of scikit-learn's callback protocol, which only scikit-learn calls
    r"^sknatgrad\.callbacks\.\w+\.(setup|teardown|on_fit_task_begin|on_fit_task_end)$",
    # the docstrings refer to those of the base class
    r"^sknatgrad\.dask\.DaskNaturalGradientLogisticRegression(CV)?($|\.)",
}


def skip_members_of_other_packages(_app, _what, _name, member, skip, _options):
    """Omit members inherited from scikit-learn, which the class template lists, and the fields of named tuples."""
    module = getattr(member, "__module__", None) or ""
    return True if module.startswith("sklearn.") or type(member).__name__ == "_tuplegetter" else skip


def keep_initials(_app, _what, _name, _obj, _options, lines):
    """Escape the initial of a reference's first author, which would be read as the number of a list item."""
    lines[:] = [re.sub(r"^(\.\. \[[^\]]+\] )(?=[A-Z]\. )", r"\1\\", line) for line in lines]


def setup(app):
    app.connect("autodoc-skip-member", skip_members_of_other_packages)
    app.connect("autodoc-process-docstring", keep_initials, priority=900)  # after numpydoc


# --- the gallery
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"\.py$",  # every example is run
    "within_subsection_order": "gallery_order.GalleryOrder",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("sknatgrad",),
    "matplotlib_animations": True,
    "plot_gallery": "True",
    "remove_config_comments": True,
    "show_signature": False,
    "write_computation_times": False,  # that page would load scripts from another host
}

# --- appearance
html_theme = "pydata_sphinx_theme"
html_title = "sknatgrad"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
# pages without subpages need no sidebar
html_sidebars = {
    name: []
    for name in ("benchmarks", "changelog", "contributing", "getting_started", "index", "why_natural_gradients")
}
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}
html_theme_options = {
    "logo": {"text": "sknatgrad"},
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "footer_start": ["sphinx-version"],
    "footer_end": ["theme-version"],
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
