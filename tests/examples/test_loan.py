"""The example of an inference graph: ten models, one decision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from examples.loan.make_models import MODELS
from tests.end_to_end.conftest import Deploy
from tests.examples.test_examples import ROOT, Reader, deployment_of

LOAN = ROOT / "examples" / "loan"
COUNT = 300


def decision_of(application: Mapping[str, Any]) -> tuple[str, float]:
    """The documented decision in plain Python: the mean of ten logistic regressions, weighted as in the route."""
    steps = yaml.safe_load((LOAN / "routes.yaml").read_text())["routes"]["LoanApplication"]["graphs"]["loan"]["steps"]
    combined = next(step for step in steps if "combine" in step)
    weights = dict(zip(combined["of"], combined["weights"], strict=True))
    risks = {}
    for name, (fields, bias) in MODELS.items():
        risks[name] = 1 / (1 + math.exp(-bias - sum(weight * application[one] for one, weight in fields.items())))
    risk = sum(weights[name] * value for name, value in risks.items()) / sum(weights.values())
    return ("approve" if risk < 0.35 else "review" if risk < 0.5 else "deny"), risk


@pytest.mark.slow
def test_ten_models_side_by_side_decide_on_each_loan(deploy: Deploy, tmp_path: Path) -> None:
    deployment = deployment_of(LOAN / "serving.yaml", deploy)
    reader = Reader(deployment, tmp_path)
    folder = tmp_path / "loan-models"
    reader.does(["python", "examples/loan/make_models.py", str(folder)])
    assert len(MODELS) == 10
    for name in MODELS:
        deployment.publish(f"loan-{name}", folder / name, {}, inline=False)
    deployment.start()
    # The configuration of the other example stands for the deployment's own: see Reader.
    config = ["--config", "examples/sensors/serving.yaml"]
    applied = reader.does(["beam-serving", "models", "apply", "--file", str(LOAN / "routes.yaml"), *config])
    assert "LoanApplication: no route -> live graph loan 100 %" in applied
    for name in MODELS:
        deployment.status("serving", f"loan-{name}", 1)
    reader.does(["python", "examples/loan/send_applications.py", "--count", str(COUNT)])
    results = deployment.results_of(range(COUNT))
    assert {result.error for result in results} == {None}
    decisions = set[str]()
    for result in results:
        decision, risk = decision_of(result.record)
        (score,), (label,) = result.values("score"), result.values("decision")
        assert score == pytest.approx(risk, abs=1e-5)
        assert label.decode() == decision or min(abs(risk - 0.35), abs(risk - 0.5)) < 1e-5
        decisions.add(label.decode())
        steps = {step["name"]: (step["modelName"], step["modelVersion"]) for step in result.metadata["steps"]}
        assert steps == {**{name: (f"loan-{name}", 1) for name in MODELS}, "risk": (None,) * 2, "decision": (None,) * 2}
    assert decisions == {"approve", "review", "deny"}
