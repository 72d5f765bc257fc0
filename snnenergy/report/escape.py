"""Names come from model files, which anyone may have written: each format has one function that makes text harmless in it.

`plain` comes first everywhere: control characters (ANSI, bidirectional overrides, zero-width) become visible escapes.
"""

from __future__ import annotations

import html
import re
import unicodedata

_LOOKALIKES = str.maketrans(
    {"µ": "u", "μ": "u", "×": "x", "–": "-", "—": "-", "−": "-", "≥": ">=", "≤": "<=", "→": "->", "…": "...", "·": ".", "±": "+-",
     "’": "'", "‘": "'", "“": '"', "”": '"', "\N{NO-BREAK SPACE}": " ", "²": "^2", "≈": "~"}
)  # fmt: skip  # a table, read across
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def plain(text: str) -> str:
    r"""Control and invisible characters as backslash escapes: one line, nothing hidden.

    >>> print(plain("a\x1b[31mb\n"))
    a\x1b[31mb\x0a
    """
    if text.isprintable():  # no character of those kinds, nor an unusual space
        return text
    return "".join(_visible(c) if unicodedata.category(c) in _INVISIBLE else c for c in text)


def _visible(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def ascii_only(text: str) -> str:
    """Plain text in ASCII: known signs by their usual spelling, everything else as an escape."""
    return plain(text.translate(_LOOKALIKES)).encode("ascii", "backslashreplace").decode("ascii")


def csv_cell(text: str) -> str:
    """A cell no spreadsheet runs: text that starts like a formula gets an apostrophe in front."""
    text = plain(text)
    return f"'{text}" if text.lstrip(" '\"")[:1] in tuple("=+-@|%＝＋－＠") else text


def markdown(text: str) -> str:
    """Prose: every character that Markdown, HTML, an @mention or a link could start with is escaped."""
    text = re.sub(r"([\\`*_\[\]{}|~$]|#(?=\d))", r"\\\1", plain(text).replace("&", "&amp;"))
    for character, entity in (("<", "&lt;"), (">", "&gt;"), ("@", "&#64;"), ("://", "&#58;//")):
        text = text.replace(character, entity)
    return re.sub(r"(?i)(www)\.", r"\1&#46;", text)


def markup(text: str) -> str:
    """Text inside an HTML element of a Markdown page: no markup, and no @mention either."""
    return html.escape(plain(text)).replace("@", "&#64;")


def markdown_code(text: str) -> str:
    """A name as a code span: a fence longer than any run of backticks inside; safe in a table cell."""
    text = plain(text).replace("|", "\\|") or " "
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
}  # fmt: skip  # a table, read across


def latex(text: str) -> str:
    """Text of a LaTeX document: no character keeps a meaning of its own."""
    return "".join(_LATEX.get(c, c) for c in ascii_only(text))
