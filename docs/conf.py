"""The documentation site: `sphinx-build -W docs docs/_build`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cdstats

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "cdstats"
author = "The cdstats authors"
release = version = cdstats.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinxcontrib.programoutput",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
# Links to files outside of this folder, which `tests/test_docs.py` checks.
suppress_warnings = ["myst.xref_missing"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
copybutton_exclude = ".linenos, .gp, .go"
html_theme = "pydata_sphinx_theme"
html_title = "cdstats"
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_show_copyright = False
html_show_sphinx = False


def _tutorial(_: object) -> None:
    """Make the folder in which the commands of the tutorial run."""
    docs = Path(__file__).parent
    folder = docs / "_build/tutorial"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "sample_masks").exists():
        (folder / "sample_masks").symlink_to(docs.parent / "sample_masks")
    subprocess.run([sys.executable, docs / "predict.py"], cwd=folder, check=True)
    os.environ["PATH"] = (
        f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    os.environ["COLUMNS"] = "80"


def setup(app: Sphinx) -> None:
    """Connect what is made before pages are read."""
    app.connect("builder-inited", _tutorial)
