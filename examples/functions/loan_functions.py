"""Computes the share of an income that a loan would take, in a function that is served like a model.

Install the package where models are published and wherever workers run, then publish the function by its name::

    pip install examples/functions
    echo '{"function": "loan-burden", "parameters": {"years": 8}}' > burden.json
    beam-serving models publish --config examples/loan/serving.yaml --name burden --type python --path burden.json \
        --data-type LoanApplication
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from models.functions import Column, column_function
from models.tensors import Array


@column_function(
    inputs={name: Column("float64") for name in ("amount", "income", "housing_cost")},
    outputs={"share": Column("float64"), "verdict": Column("text")},
)
def burden(columns: Mapping[str, Array], years: int = 5, limit: float = 0.4) -> Mapping[str, Array]:
    """The share of the income that the loan and housing take, and whether that share is bearable.

    Args:
      columns: the fields of loan applications.
      years: the term of the loan in years.
      limit: the highest share that is bearable.
    """
    yearly = columns["amount"].astype(float) / years + columns["housing_cost"].astype(float)
    share = yearly / np.maximum(columns["income"].astype(float), 1.0)
    return {"share": share, "verdict": np.where(share <= limit, "bearable", "too much")}
