"""The frame of every report page: head, style, links to the sections. It loads nothing, and runs nothing."""

from .format import text
from .run import Record
from .style import CSS

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="generator" content="convcraft">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{css}</style>
</head>
<body>
<header>{header}</header>
{nav}
<main>{main}</main>
<footer>{footer}</footer>
</body>
</html>
"""


def document(title: str, header: str, sections: dict[str, str], footer: str) -> str:
    """The whole page.

    Args:
        title: of the window, plain text.
        header: HTML.
        sections: name, whose lower case is the section's id, to its HTML; empty ones are left out.
        footer: HTML.
    """
    sections = {name: content for name, content in sections.items() if content}
    links = "".join(f'<li><a href="#{name.lower()}">{name}</a></li>' for name in sections)
    return PAGE.format(
        title=text(title),
        css=CSS,
        header=header,
        nav=f'<nav aria-label="Sections"><ul>{links}</ul></nav>' if links else "",
        main="\n".join(sections.values()),
        footer=footer,
    )


def title_of(record: Record) -> str:
    """What a run is called: its recipe, else its directory."""
    return str(record.config.get("recipe") or record.directory.resolve().name)
