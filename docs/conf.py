"""How Sphinx makes the site: `bin/docs`."""

import gtn_tf
from gtn_tf.commands import tensorflow_start

tensorflow_start.load()

project = "gtn_tf"
release = gtn_tf.__version__
author = copyright = "the authors of gtn_tf"
html_title = f"gtn_tf {release}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_show_sourcelink = html_copy_source = False

myst_heading_anchors = 4  # links to headings are checked
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_default_options = {"members": True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # fields of named tuples are objects of their own already
default_role = "literal"  # `name` in docstrings


def setup(app):
    """Sphinx calls this."""
    app.connect("autodoc-process-docstring", _mark_code, priority=100)  # first


def _mark_code(app, what, name, obj, options, lines):
    """Puts :: before what a docstring indents behind an empty line: code, equations."""
    for number in range(len(lines) - 1, 0, -1):
        above = [line for line in lines[:number] if line.strip()]
        is_first = lines[number].startswith("    ") and not lines[number - 1].strip()
        if is_first and above and not above[-1].startswith(" "):
            lines[number:number] = ["::", ""]
