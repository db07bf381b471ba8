"""What a reader sees: rounding, the identity row, and no number without its meaning."""

import pandas as pd
import pytest

from nseg_lib.evaluation.metrics import METRICS
from nseg_lib.evaluation.tables import decimals, to_csv, to_markdown


@pytest.fixture
def summary() -> pd.DataFrame:
    rows = []
    for method, iou in (("identity", 0.81639), ("net|a", 0.84567)):
        seeds = 3 if method == "net|a" else 1
        row: dict[str, object] = {"method": method, "n": 154, "seeds": seeds}
        for name in METRICS:
            value = 46.125 if decimals(name) == 2 else iou
            spread = 0.00123 if seeds > 1 else float("nan")
            row |= {name: value, f"{name}_std": spread, f"{name}_difference": iou - 0.81639}
            row |= {f"{name}_low": -0.00001, f"{name}_high": 0.05}
        row |= {"made_worse": 0.2101, "made_worse_at_all": 0.3, "empty_predictions": 2}
        rows.append(row | {"seconds": 0.17649})
    return pd.DataFrame(rows)


def test_the_markdown_table_to_the_letter(summary: pd.DataFrame) -> None:
    header, rule, identity, net = to_markdown(summary).splitlines()
    assert header.startswith("| method | n | pixel acc. | IoU | 1-px boundary IoU | ")
    assert header.endswith("| HD95 (px) | Δ IoU [95 %] | made worse | empty | s per picture |")
    assert rule == "| --- |" + 12 * " ---: |"
    assert identity.startswith("| identity | 154 | 0.8164 | 0.8164 |")
    assert identity.endswith("| 46.12 | – | – | 2 | 0.176 |")
    assert net.startswith("| net\\|a | 154 | 0.8457 ± 0.0012 |")
    says = "| 46.12 ± 0.00 | +0.0293 [-0.0000, +0.0500] | 21.0 % | 2 | 0.176 |"
    assert net.endswith(says)


def test_the_csv_has_every_column_rounded_by_its_metric(summary: pd.DataFrame) -> None:
    header, first, second = to_csv(summary).splitlines()
    assert header.split(",") == list(summary.columns)
    assert first.startswith("identity,154,1,0.8164,,0.0000,0.0000,0.0500,")
    assert second.startswith("net|a,154,3,0.8457,0.0012,0.0293,0.0000,0.0500,")
    assert ",46.12,0.00,0.03," in second
    assert second.endswith(",0.2101,0.3000,2,0.176")
