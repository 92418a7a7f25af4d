"""The documentation site: `sphinx-build -W docs docs/_build`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx import addnodes

import cdstats

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.writers.html5 import HTML5Translator

project = "cdstats"
author = "The cdstats authors"
release = version = cdstats.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinxcontrib.programoutput",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
copybutton_exclude = ".linenos, .gp, .go"
html_math_renderer = "mathml"
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
INCLUDED = {
    "CONTRIBUTING": "contributing",
    "SECURITY": "security",
    "benchmarks/README": "benchmarks",
    "docs/reliability": "reliability",
    "tests/fuzz/README": "fuzz",
}
"""Pages of the site by the files that included files link to."""


def _tutorial(_: object) -> None:
    """Create the folder in which the commands of the tutorial run."""
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


def _mathml(page: HTML5Translator, node: nodes.math | nodes.math_block) -> None:
    """Write mathematics as MathML, which browsers show without script or network."""
    # Browsers set no space around the name of a function.
    text = re.sub(r"\\(ln|log)\b", r"\,\\\1", node.astext())
    text = re.sub(r"\\(ln|log)\s+(?!\()", r"\\\1\, ", text)
    if isinstance(node, nodes.math_block):
        shown = tex2mathml(text, as_block=True)
        page.body.append(f'<div style="margin: 1em 0; font-size: 125%">{shown}</div>')
    else:
        page.body.append(tex2mathml(text))
    raise nodes.SkipNode


def _outside(_: object, page: nodes.document) -> None:
    """Link to the pages that include files outside this folder, or to nothing."""
    root = Path(__file__).parents[1]
    for link in [*page.findall(addnodes.pending_xref)]:
        target = link["reftarget"]
        is_inside = link["refdomain"] == "doc" and not Path(target).is_absolute()
        if link["reftype"] != "myst" or is_inside:
            continue
        file = target.removeprefix(f"{root}/").replace("../", "").removesuffix(".md")
        if file in INCLUDED:
            known = {"refdomain": "doc", "reftargetid": None}
            link.attributes |= {**known, "reftarget": INCLUDED[file]}
        elif (root / file).exists() or (root / f"{file}.md").exists():
            link.replace_self(link[0])


def setup(app: Sphinx) -> None:
    """Connect the steps of this file to the build."""
    app.connect("doctree-read", _outside)
    app.connect("builder-inited", _tutorial)
    app.add_html_math_renderer("mathml", (_mathml, None), (_mathml, None))
