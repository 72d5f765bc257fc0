"""Records in, text out: one file per format, each with a `render` that returns what it would write.

    terminal  markdown  html  tables (CSV, LaTeX)  figures (PNG, SVG, PDF)  document (the JSON twin, and back)

Nothing here prints, and nothing but `document.read` touches a file.  `summary` holds what every format shows; `quantities` and
`escape` are the only places that format a number or defuse a name.
"""
