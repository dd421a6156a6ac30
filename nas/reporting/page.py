"""A page of HTML that needs nothing beside it."""

from __future__ import annotations

import base64
import html
import re
import string
from pathlib import Path

import markdown

_PAGE = string.Template("""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>$title</title><style>
body { font: 16px/1.5 sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse } td, th { padding: 0.2em 0.8em; text-align: left }
tr { border-bottom: 1px solid #ccc } img { max-width: 100% }
</style></head><body>$body</body></html>
""")


def as_page(text: str, folder: Path) -> str:
    """The page of a Markdown text, the figures of its folder inside."""
    body = markdown.markdown(html.escape(text, quote=False), extensions=["tables"])

    def inlined(match):
        data = base64.b64encode((folder / match[1]).read_bytes()).decode()
        return f'src="data:image/png;base64,{data}"'

    body = re.sub(r'src="([\w.-]+\.png)"', inlined, body)
    return _PAGE.substitute(title="Report", body=body)
