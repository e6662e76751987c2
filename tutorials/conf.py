"""Sphinx configuration of the documentation site.

Build it with ``pip install -e ".[docs]" && sphinx-build -W tutorials tutorials/_build``.
"""

import re

from sphinx.domains.python import PyObject
from sphinx.pycode import ModuleAnalyzer

from captum_xg import __version__

project = "captum_xg"
author = "the captum_xg authors"
copyright = author
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3  # so that pages can link to the sections of others
nb_execution_mode = "off"  # the outputs are those committed; a test executes the notebooks
nb_render_markdown_format = "myst"  # tables among the outputs are tables

autosummary_generate = False  # the tables of names link to entries on the same page
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # one list of attributes in a class's entry, and no second entry for each
napoleon_use_rtype = False
napoleon_custom_sections = [
    ("Range", "notes_style"),
    ("Degree", "notes_style"),
    ("Shapes", "notes_style"),
    ("Source", "notes_style"),
]
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

pygments_dark_style = "github-dark"
html_theme = "furo"
html_title = "captum_xg"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False

for _field in PyObject.doc_field_types:
    if _field.name == "variable":
        _field.label = "Attributes"


_analyze = ModuleAnalyzer.analyze


def _without_overloads(self):
    """Let a function have one signature: overloads only tie the type of a result to that of a switch."""
    _analyze(self)
    self.overloads = {}


ModuleAnalyzer.analyze = _without_overloads


def _escape_bars(app, what, name, obj, options, lines):
    """Let |x| in a docstring be a magnitude, not a substitution; formulas, literals and tables keep theirs."""
    in_formula = False
    for i, line in enumerate(lines):
        if line.lstrip().startswith(".. math::"):
            in_formula = True
        elif line.strip() and not line.startswith(" "):
            in_formula = False
        if not in_formula and not line.lstrip().startswith(("|", "+-", "+=")):
            parts = re.split(r"(``.*?``)", line)
            lines[i] = "".join(p if p.startswith("``") else re.sub(r"(?<!\\)\|", r"\\|", p) for p in parts)


def _skip(app, what, name, obj, skip, options):
    """Leave out the fields of named tuples, which their class's entry lists."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app):
    """Connect the two."""
    app.connect("autodoc-process-docstring", _escape_bars, priority=900)  # after napoleon
    app.connect("autodoc-skip-member", _skip)
