"""Trains a model of delivery times: `python -m examples.drift.train FOLDER`.

It writes the model, `FOLDER/model.pmml`, and its training data as the baseline for drift, `FOLDER/baseline.jsonl`.
Without `--labelled FILE` it trains on deliveries of last year, otherwise on those in the file, one per line:

{"record": {"order_id": "1", "distance_km": 4.2, "stops": 3}, "label": 31.5}
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import numpy as np

from examples.drift.deliveries import random_delivery

FIELDS = ("distance_km", "stops")
_HISTORY = 5_000

_PMML = """<?xml version="1.0" encoding="UTF-8"?>
<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4">
  <Header/>
  <DataDictionary>
    {fields}
    <DataField name="minutes" optype="continuous" dataType="double"/>
  </DataDictionary>
  <RegressionModel functionName="regression">
    <MiningSchema>
      {mining}
      <MiningField name="minutes" usageType="target"/>
    </MiningSchema>
    <RegressionTable intercept="{intercept!r}">
      {predictors}
    </RegressionTable>
  </RegressionModel>
</PMML>
"""


def read_labelled(path: Path) -> tuple[list[dict[str, Any]], list[float]]:
    """The records and labels in a file."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [line["record"] for line in lines], [line["label"] for line in lines]


def history() -> tuple[list[dict[str, Any]], list[float]]:
    """The deliveries of last year, and how many minutes they took."""
    chance = random.Random(0)
    deliveries = [random_delivery(chance, moved=False) for _ in range(_HISTORY)]
    return [record for record, _ in deliveries], [minutes for _, minutes in deliveries]


def train(records: list[dict[str, Any]], minutes: list[float]) -> str:
    """A linear regression by least squares, as PMML."""
    rows = np.array([[record[name] for name in FIELDS] + [1.0] for record in records])
    (*weights, intercept), *_ = np.linalg.lstsq(rows, np.array(minutes), rcond=None)
    weighted = list(zip(FIELDS, map(float, weights), strict=True))
    return _PMML.format(
        fields="".join(f'<DataField name="{name}" optype="continuous" dataType="double"/>' for name in FIELDS),
        mining="".join(f'<MiningField name="{name}"/>' for name in FIELDS),
        intercept=float(intercept),
        predictors="".join(f'<NumericPredictor name="{name}" coefficient="{one!r}"/>' for name, one in weighted),
    )


def main() -> None:
    """Writes the model and its baseline."""
    parser = argparse.ArgumentParser(description="Train a model of delivery times.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--labelled", type=Path, metavar="FILE", help="the training data (default: last year's)")
    given = parser.parse_args()
    records, minutes = history() if given.labelled is None else read_labelled(given.labelled)
    given.folder.mkdir(parents=True, exist_ok=True)
    (given.folder / "model.pmml").write_text(train(records, minutes), encoding="utf-8")
    (given.folder / "baseline.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n", encoding="utf-8")
    print(f"trained on {len(records)} deliveries: {given.folder}")


if __name__ == "__main__":
    main()
