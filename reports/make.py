"""Makes every report in this folder again: `python reports/make.py`, from the root of the repository.

A report is a JSON record, which holds the Counts of its models, and a page and a Markdown text made from nothing but that
record and the shipped profiles.  The ECG recordings do not ship: where `../shared/data` is absent, that comparison is priced
again from the Counts in its record.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from snnenergy.cost import compare
from snnenergy.report import document, html, markdown
from snnenergy.whole import write

if TYPE_CHECKING:
    from snnenergy.cost.records import Comparison
    from snnenergy.counts import Counts

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
ECG = ROOT.parent / "shared" / "data" / "ecg_qtdb"


@dataclass(frozen=True)
class Report:
    """One comparison: what it counts, on which chips it is priced, and what the record alone does not say."""

    counts: Callable[[], Mapping[str, Counts]]
    hardware: tuple[str, ...]
    notes: tuple[str, ...] = ()


def digits() -> Mapping[str, Counts]:
    """What `snnenergy demo` counts: the command itself, run into a folder that is thrown away."""
    from snnenergy.cli.models import demo

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        demo(Path(folder))
        return document.read(Path(folder) / "snnenergy-report.json").counts


def ecg() -> Mapping[str, Counts]:
    """The published SRNN, and an LSTM of its width, on the 141 recordings; or what the record holds where they are absent."""
    if not ECG.is_dir():
        return document.read(HERE / "ecg.json").counts
    import torch

    import snnenergy
    from tests.srnn_ecg import LSTM, ROLES, SRNN, recordings

    x, _ = recordings(ECG)
    torch.manual_seed(0)
    with torch.no_grad():
        srnn = snnenergy.count(SRNN(ECG / "srnn_36_weights.npz").eval(), x, time_axis=1, roles=ROLES)
        lstm = snnenergy.count(LSTM().eval(), x, time_axis=1)
    return {"lstm": replace(lstm, model="lstm"), "srnn": replace(srnn, model="srnn")}


COMMAND = "run `python reports/make.py`"
CHIPS = ("h100_sxm", "truenorth", "loihi", "tianjic")
REPORTS = {
    "digits": Report(digits, CHIPS),
    "ecg": Report(
        ecg,
        (*CHIPS, "horowitz_fp32"),
        notes=(
            (
                "srnn: the published net and weights (Yin, Corradi, Bohte 2020, arXiv 2005.11633), on 141 recordings of the QT "
                "Database, 1,301 steps each; lstm: one of the same width, 4-36-6, untrained, on the same recordings"
            ),
        ),
    ),
}


def priced(name: str, counts: Mapping[str, Counts]) -> Comparison:
    made = compare(counts, REPORTS[name].hardware)
    return replace(made, notes=(*REPORTS[name].notes, *made.notes))


def rendered(name: str, comparison: Comparison) -> dict[str, str]:
    """File name to content: the record, the page, the Markdown."""
    return {
        f"{name}.json": document.to_json(comparison),
        f"{name}.html": html.render(comparison),
        f"{name}.md": markdown.render(comparison),
    }


def main() -> None:
    for name, report in REPORTS.items():
        for file, content in rendered(name, priced(name, report.counts())).items():
            write(HERE / file, content)
            print(f"reports/{file}: {len(content.encode()):,} bytes")


if __name__ == "__main__":
    main()
