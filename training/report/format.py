"""Numbers, names and tables as people read them: the text of `report.html`."""

import html
import math
import re
from datetime import UTC, datetime
from typing import TypeGuard

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def text(value: object) -> str:
    """Escapes for HTML, in element content and in attributes.

    Folder names that are not UTF-8 arrive with lone surrogates, and no file can be written with them; control
    characters are not allowed in HTML.
    """
    string = str(value).encode("utf-8", "replace").decode()
    return html.escape(CONTROL.sub("\N{REPLACEMENT CHARACTER}", string))


def name(value: object) -> str:
    """A class name: isolated, so that right-to-left script does not reorder the numbers beside it."""
    return f"<bdi>{text(value) if str(value).strip() else '(no name)'}</bdi>"


def keep(value: object) -> str:
    """Text that does not break across lines, such as a number and its unit."""
    return f'<span class="keep">{text(value)}</span>'


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value from JSON can be drawn."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def integer(value: float) -> str:
    """729876 -> "729,876"."""
    return f"{value:,.0f}"


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """1, "image" -> "1 image"; 2, "image" -> "2 images"."""
    return f"{integer(count)} {noun if count == 1 else nouns or noun + 's'}"


def large(value: float) -> str:
    """4089184256 -> "4.09 billion"."""
    for unit, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if value >= unit:
            return f"{float(f'{value / unit:.3g}'):g} {word}"
    return integer(value)


def percent(share: float) -> str:
    """0.9917 -> "99.2 %"; only what is all reads as 100.0 %, and only what is nothing as 0.0 %."""
    if not math.isfinite(share):
        return number(share)
    for digits in (1, 2, 3):
        string = f"{100 * share:.{digits}f}"
        if float(string) not in (0, 100) or share in (0, 1):
            return f"{string} %"
    return "< 0.001 %" if share < 0.5 else "> 99.999 %"


def number(value: float) -> str:
    """Three significant digits: 0.0311, 1.23, 4.12×10⁻⁵."""
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinite"
    if 1000 <= abs(value) < 1e6:
        return integer(value)
    mantissa, _, exponent = f"{value:.3g}".partition("e")
    if not exponent:
        return mantissa
    power = "10" + str(int(exponent)).translate(SUPERSCRIPT)
    return power if mantissa == "1" else f"{mantissa}×{power}"


def duration(seconds: float) -> str:
    """35.2 -> "35 s"; 130 -> "2 min 10 s"; 7500 -> "2 h 05 min"."""
    if not math.isfinite(seconds):
        return number(seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def moment(value: object) -> str:
    """ISO time -> "20 November 2026, 17:00 UTC"; anything else as it is."""
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        return str(value)
    if time.tzinfo:
        time = time.astimezone(UTC)
    return f"{time.day} {time:%B %Y, %H:%M}" + (" UTC" if time.tzinfo else "")


def plain(value: object, limit: int = 1000) -> str:
    """A configuration value: None, True and lists as a reader expects them, monsters cut."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        string = ", ".join(plain(item) for item in value)
    elif isinstance(value, dict):
        string = ", ".join(f"{key}: {plain(item)}" for key, item in value.items())
    else:
        string = str(value)
    if len(string) > limit:
        return f"{string[:limit]} … ({integer(len(string))} characters)"
    return string


def section(anchor: str, title: str, *content: str) -> str:
    """A section of the page with its heading."""
    heading = f'<h2 id="{anchor}-h">{title}</h2>'
    return f'<section id="{anchor}" aria-labelledby="{anchor}-h">{heading}{"".join(content)}</section>'


def scroll(label: str, content: str, extra: str = "") -> str:
    """A box that what is too wide scrolls inside, with the keyboard too."""
    return f'<div class="scroll {extra}" role="group" tabindex="0" aria-label="{text(label)}">{content}</div>'


def table(caption: str, head: list[str], rows: list[list[str]], foot: list[str] | None = None) -> str:
    """A table whose cells are HTML; the first column names the row, columns marked with > hold numbers."""
    numeric = [title.startswith(">") for title in head]

    def line(cells: list[str]) -> str:
        rest = "".join(
            f'<td class="n">{c}</td>' if right else f"<td>{c}</td>"
            for c, right in zip(cells[1:], numeric[1:], strict=True)
        )
        return f'<tr><th scope="row"{" class=n" if numeric[0] else ""}>{cells[0]}</th>{rest}</tr>'

    titles = "".join(
        f'<th scope="col"{" class=n" if right else ""}>{title.lstrip(">")}</th>'
        for title, right in zip(head, numeric, strict=True)
    )
    body = "".join(map(line, rows))
    footer = f"<tfoot>{line(foot)}</tfoot>" if foot else ""
    caption = f"<caption>{caption}</caption>" if caption else ""
    return f'<table class="wide">{caption}<thead><tr>{titles}</tr></thead><tbody>{body}</tbody>{footer}</table>'
