"""The documentation site: `make docs` builds it, warnings being errors, without any network.

`DOCS_INVENTORIES=1 make docs` also fetches the inventories of the projects that docstrings name, so that those names
become links. Without it they are set as code.
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
]
templates_path = ["_templates"]
# what is written while building, and scripts' folders
exclude_patterns = ["_build", "_ext", "_templates", "auto_examples/**/*.md", "auto_examples/**/*.ipynb"]
nitpicky = True
default_role = "code"  # `name` in a docstring is code

# Names of other projects: links where their inventories are at hand, otherwise code.
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
myst_fence_as_directive = ["math"]  # ```math is displayed as mathematics by other readers of Markdown too
myst_heading_anchors = 4

# --- the interface
autosummary_generate = True
# `sknatgrad.onnx` is described without them too
autodoc_mock_imports = [name for name in ("onnx", "skl2onnx") if find_spec(name) is None]
toc_object_entries_show_parents = "hide"
autodoc_preserve_defaults = True  # as they are written
autodoc_typehints = "none"  # types stand in the docstrings, with shapes
numpydoc_show_class_members = False  # the template of a class lists them
numpydoc_validation_checks = {
    "all",
    "ES01",  # a summary in one line may say all there is to say
    "EX01",  # methods are shown at work in the example of their class, and in the guide
    "RT02",  # results have names, as scikit-learn's do
    "SA01",  # there is not always something to see also
}
numpydoc_validation_exclude = {
    # `infer` makes them: their attributes are documented, their constructors are not for users
    r"^sknatgrad\.inference\.(ChiSquared|InferenceResult|MarginalEffects|OddsRatios|Summary)(\.of|\.quadratic)?$",
    # the protocol of scikit-learn's callbacks, which calls them
    r"^sknatgrad\.callbacks\.\w+\.(setup|teardown|on_fit_task_begin|on_fit_task_end)$",
    # as those of the class it derives from, to which the docstrings refer
    r"^sknatgrad\.dask\.DaskNaturalGradientLogisticRegression($|\.)",
}


def skip_what_others_document(_app, _what, _name, member, skip, _options):
    """Leave out what scikit-learn's base classes and named tuples bring; an estimator's page names it in a line."""
    module = getattr(member, "__module__", None) or ""
    return True if module.startswith("sklearn.") or type(member).__name__ == "_tuplegetter" else skip


def keep_initials(_app, _what, _name, _obj, _options, lines):
    """Keep the initial of a reference's first author from being read as the number of a list."""
    lines[:] = [re.sub(r"^(\.\. \[[^\]]+\] )(?=[A-Z]\. )", r"\1\\", line) for line in lines]


def setup(app):
    app.connect("autodoc-skip-member", skip_what_others_document)
    app.connect("autodoc-process-docstring", keep_initials, priority=900)  # after numpydoc


# --- the gallery
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"\.py$",  # all are run
    "within_subsection_order": "gallery_order.Listed",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("sknatgrad",),
    "matplotlib_animations": True,
    "plot_gallery": "True",
    "remove_config_comments": True,
    "show_signature": False,
    "write_computation_times": False,  # a page whose scripts would come from elsewhere
}

# --- how it looks
html_theme = "pydata_sphinx_theme"
html_title = "sknatgrad"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
# pages without pages below them need no list of those
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
