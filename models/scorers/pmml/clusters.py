"""ClusteringModel: the nearest or most similar center."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np

from models.scorers.pmml.columns import Floats, Frame
from models.scorers.pmml.context import COMMON_ATTRIBUTES, COMMON_CHILDREN, Context, ReadBody
from models.scorers.pmml.elements import Element
from models.scorers.pmml.predictions import Prediction, winners

_DISTANCES = ("euclidean", "squaredEuclidean", "chebychev", "cityBlock", "minkowski")
_SIMILARITIES = ("simpleMatching", "jaccard", "tanimoto")
_COMPARISONS = "absDiff gaussSim delta equal"


@dataclass(frozen=True)
class Field:
    """A field of the clusters, and how its values are compared."""

    name: str
    weight: float
    comparison: str
    scale: float

    def compared(self, values: Floats, center: float) -> Floats:
        """[rows], NaN for missing values."""
        difference = np.abs(values - center)
        if self.comparison == "absDiff":
            return difference
        if self.comparison == "gaussSim":
            return np.asarray(np.exp(-log(2) * np.square(difference / self.scale)), np.float64)
        wanted = difference != 0 if self.comparison == "delta" else difference == 0
        return np.where(np.isnan(difference), np.nan, wanted)


@dataclass(frozen=True)
class Clusters:
    """The centers, [clusters, fields], and the measure that selects one of them."""

    fields: tuple[Field, ...]
    centers: Floats
    labels: tuple[str, ...]
    measure: str
    exponent: float
    missing_weights: Floats

    def predict(self, frame: Frame) -> Prediction:
        """Scores all rows; one without any value has no result."""
        values = np.stack([frame.column(field.name).values for field in self.fields], axis=1)
        similar = self.measure in _SIMILARITIES
        affinities = np.stack([self._affinity(values, center) for center in self.centers], axis=1)
        codes = winners(affinities if similar else -affinities)
        return Prediction(labels=self.labels, codes=codes, affinities=affinities)

    def _affinity(self, values: Floats, center: Floats) -> Floats:
        if self.measure in _SIMILARITIES:
            return _similarity(self.measure, values, center)
        return self._distance(values, center)

    def _distance(self, values: Floats, center: Floats) -> Floats:
        parts = np.stack(
            [field.compared(values[:, place], center[place]) for place, field in enumerate(self.fields)], axis=1
        )
        weights = np.array([field.weight for field in self.fields])
        present = ~np.isnan(parts)
        with np.errstate(divide="ignore", invalid="ignore"):
            adjustment = self.missing_weights.sum() / (present * self.missing_weights).sum(axis=1)
        adjustment = np.where(present.any(axis=1) & np.isfinite(adjustment), adjustment, np.nan)
        filled = np.where(present, parts, 0.0)
        if self.measure == "chebychev":
            return np.asarray((weights * filled).max(axis=1) * adjustment, np.float64)
        total = (weights * filled**self.exponent).sum(axis=1) * adjustment
        if self.measure in ("squaredEuclidean", "cityBlock"):
            return np.asarray(total, np.float64)
        return np.asarray(total ** (1 / self.exponent), np.float64)


def _similarity(measure: str, values: Floats, center: Floats) -> Floats:
    """The similarity of rows of 0 and 1 to a center: [rows], NaN for a row with any other value."""
    fine = np.isin(values, (0.0, 1.0)).all(axis=1)
    both = ((values == 1) & (center == 1)).sum(axis=1)
    neither = ((values == 0) & (center == 0)).sum(axis=1)
    differ = values.shape[1] - both - neither
    with np.errstate(divide="ignore", invalid="ignore"):
        if measure == "simpleMatching":
            result = (both + neither) / values.shape[1]
        elif measure == "jaccard":
            result = both / (both + differ)
        else:
            result = (both + neither) / (both + 2 * differ + neither)
    return np.where(fine, result, np.nan)


_CHILDREN = f"{COMMON_CHILDREN} ComparisonMeasure ClusteringField MissingValueWeights Cluster"


def read_clusters(element: Element, context: Context) -> ReadBody:
    """Reads a ClusteringModel."""
    element.check(f"{COMMON_ATTRIBUTES} modelClass numberOfClusters", _CHILDREN)
    element.choice("modelClass", "centerBased")
    holder = element.only("ComparisonMeasure")
    holder.check("kind compareFunction minimum maximum", " ".join((*_DISTANCES, *_SIMILARITIES)))
    measure = holder.only(*_DISTANCES, *_SIMILARITIES)
    kind = holder.choice("kind", "distance similarity")
    if (kind == "similarity") != (measure.tag in _SIMILARITIES):
        holder.refuse(f"{measure.tag} is not a {kind}")
    measure.check("p-parameter" if measure.tag == "minkowski" else "")
    exponent = (
        measure.number("p-parameter") if measure.tag == "minkowski" else 1.0 if measure.tag == "cityBlock" else 2.0
    )
    if exponent <= 0:
        measure.refuse("p-parameter must be above 0")
    fields = tuple(
        _read_field(one, holder, context)
        for one in element.all("ClusteringField")
        if one.choice("isCenterField", "true false", "true") == "true"
    )
    centers, labels = _read_centers(element, len(fields))
    weights = element.find("MissingValueWeights")
    given = [1.0] * len(fields) if weights is None else weights.only("Array").numbers()
    if len(given) != len(fields):
        element.refuse(f"MissingValueWeights has {len(given)} items for {len(fields)} fields")
    body = Clusters(fields, centers, labels, measure.tag, exponent, np.array(given))
    return ReadBody(body, labels, features=frozenset({"entityId", "clusterId", "affinity", "clusterAffinity"}))


def _read_field(element: Element, measure: Element, context: Context) -> Field:
    element.check("field isCenterField fieldWeight similarityScale compareFunction")
    holder = element if "compareFunction" in element.attributes else measure
    comparison = holder.choice("compareFunction", _COMPARISONS, "absDiff")
    scale = element.number("similarityScale", 1.0)
    if comparison == "gaussSim" and ("similarityScale" not in element.attributes or scale <= 0):
        element.refuse("gaussSim needs a similarityScale above 0")
    name = context.scope.number(element.need("field"), element)
    return Field(name, element.number("fieldWeight", 1.0), comparison, scale)


def _read_centers(element: Element, width: int) -> tuple[Floats, tuple[str, ...]]:
    centers, labels = [], []
    for number, one in enumerate(element.all("Cluster")):
        one.check("id name size", "Array KohonenMap Partition Covariances")
        center = one.only("Array").numbers()
        if len(center) != width:
            one.refuse(f"it has {len(center)} coordinates for {width} fields")
        centers.append(center)
        labels.append(one.get("id") or str(number + 1))
    if not width or len(set(labels)) != len(labels) or not labels:
        element.refuse("it needs fields, and clusters with different ids")
    if element.number("numberOfClusters", len(labels)) != len(labels):
        element.refuse(f"numberOfClusters differs from the number of clusters, {len(labels)}")
    return np.array(centers), tuple(labels)
