"""The sources of a chip as BibTeX, to be cited beside a number that was made from them."""

from __future__ import annotations

from snnenergy.hardware.profile import Profile, Source

_SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\^{}"}


def render(chip: Profile) -> str:
    """One entry a source, under the key it has in the profile; an article where there is a DOI, else misc."""
    return "\n".join(_entry(key, source) for key, source in chip.sources.items())


def _entry(key: str, source: Source) -> str:
    authors = source.authors.replace(" et al.", " and others").replace(", ", " and ")
    fields = {
        "title": f"{{{_escaped(source.title)}}}",  # a second pair of braces keeps its capitals
        "author": _escaped(authors),
        "year": str(source.year or ""),
        "journal" if source.doi else "howpublished": _escaped(source.venue),
        "doi": source.doi or "",
        "url": source.url or "",
        "note": _escaped(source.note),
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{'article' if source.doi else 'misc'}{{{key},", *lines, "}", ""])


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(c, c) for c in " ".join(text.split()))
