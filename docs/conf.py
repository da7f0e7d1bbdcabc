"""How the site is made of these pages: Sphinx, with pages in Markdown (MyST) and the theme Furo.

`nox -s docs` runs it. The package has to be installed: the API reference is made of its docstrings.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "_ext"))

import rendezvous

project = "rendezvous"
author = "The rendezvous developers"
project_copyright = author
version = release = rendezvous.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "pages",
    "pictures",
    "reference",
]
exclude_patterns = ["_ext", "_static"]
templates_path = ["_templates"]

# Links to headings, as GitHub makes their anchors.
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
# What `pages` and `reference` say in words of their own is an error, too.
suppress_warnings = ["config.cache"]

# torch is asked for by few, and large.
autodoc_mock_imports = ["torch"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_display_short_literal_types = True
python_maximum_signature_line_length = 88
default_role = "code"
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"rendezvous {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "source_repository": "https://github.com/rendezvous-store/rendezvous/",
    "source_branch": "main",
    "source_directory": "docs/",
    "footer_icons": [],
}
# Prompts and what commands print are not for the clipboard.
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True
