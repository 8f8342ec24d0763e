"""Attributions of any model by permutations of its inputs (Shapley values).

A feature is present, with the record's own value, or absent, with that of a background record. shap's permutation
explainer asks for the answers of many such mixtures: it goes through the features in random orders, forwards and
backwards, and averages what each of them changes. Because it only sees which features are present, the inputs may be
of any type. Contributions add up to the difference exactly; they are exact Shapley values for models without
interactions of three features or more, otherwise an estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from models.explaining.attribution import Attributions, Explained
from models.explaining.explained_row import Feature, Rows, composed, differing
from models.explaining.model_calls import ModelCalls, Numbers
from models.extras import extras_named

_PERMUTATIONS = 10
# Mixtures for one record; the number of orders shrinks for records with many features.
_MOST_MIXTURES = 2_000


@cache
def explainer_class() -> Any:
    """The permutation explainer of shap, imported at first use, which takes seconds.

    Raises:
      MissingExtraError: shap is not installed.
    """
    with extras_named():
        import numba

        # Compiling shap's loops takes 8 seconds in each process. As plain Python, they take a millisecond or two for a
        # record; the time goes into the calls of the model. What others compile is not affected.
        before, numba.config.DISABLE_JIT = numba.config.DISABLE_JIT, True
        try:
            import shap
        finally:
            numba.config.DISABLE_JIT = before
    return shap.explainers.Permutation


def permuted(
    calls: ModelCalls,
    explained: Explained,
    features: Sequence[Feature],
    row: Rows,
    background: Rows,
    records: int,
    seed: int | None = None,
) -> Attributions:
    """Explains one row.

    Args:
      calls: calls the model.
      explained: the number to explain.
      features: the features of the row.
      row: the record's inputs, with one row each.
      background: the inputs of the background records, or a single row of zeros.
      records: the number of background records; 0 if the background is zeros.
      seed: for the random orders; None for others each time. shap seeds numpy's global generator, so a process that
        runs models uses None.

    Raises:
      MissingExtraError: shap is not installed.
      ScoringError: a call of the model fails.
    """
    varying = [feature for feature in features if differing(row, background, feature)]
    count = len(next(iter(background.values())))

    def mixtures(masks: Any) -> Numbers:
        rows = composed(row, background, varying, np.asarray(masks) > 0)
        averages: Numbers = calls.numbers(rows, explained).reshape(len(masks), count).mean(axis=1)
        return averages

    base = float(calls.numbers(background, explained).mean())
    (prediction,) = calls.numbers(row, explained).tolist()
    shares = dict(zip(varying, _shapley(mixtures, len(varying), seed).tolist(), strict=True)) if varying else {}
    inputs = tuple(feature.attributed(row, shares.get(feature, 0.0)) for feature in features)
    return Attributions("permutation", explained, base, prediction, records, inputs, calls.calls, calls.rows)


def _shapley(mixtures: Any, features: int, seed: int | None) -> Numbers:
    """The Shapley values of a function of masks: float64 [features].

    Args:
      mixtures: takes masks, [masks, features], of which 1 means present; returns float64 [masks].
      features: the number of features, at least one.
      seed: as in `permuted`.
    """
    # With a background of zeros and a record of ones, shap's mixtures are the masks.
    explainer = explainer_class()(mixtures, np.zeros((1, features)), seed=seed)
    one_order = 2 * features + 1
    orders = max(1, min(_PERMUTATIONS, _MOST_MIXTURES // one_order))
    explanation = explainer(np.ones((1, features)), max_evals=orders * one_order, silent=True)
    values: Numbers = np.asarray(explanation.values, np.float64).reshape(features)
    return values
