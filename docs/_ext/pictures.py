"""Pictures of docs/pictures stand in the page itself, so that they follow its light and dark."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

FOLDER = "pictures/"


def inline(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    if app.builder.format != "html":
        return
    for image in list(doctree.findall(nodes.image)):
        uri = str(image["uri"])
        if not (uri.startswith(FOLDER) and uri.endswith(".svg")):
            continue
        text = (Path(app.srcdir) / uri).read_text(encoding="utf-8")
        text = re.sub(r"<\?xml.*?\?>\s*", "", text)
        image.replace_self(nodes.raw("", f'<div class="picture">{text}</div>', format="html"))


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-resolved", inline)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
