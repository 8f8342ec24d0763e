"""Output: the output columns of a model, and their sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from models.scorers.pmml.columns import DATA_TYPES, DOUBLE, STRING, Column, Frame, Scope
from models.scorers.pmml.context import CLASSIFICATION, CLUSTERING, REGRESSION, Context, Model, ReadBody
from models.scorers.pmml.elements import Element
from models.scorers.pmml.expressions import EXPRESSIONS, cast_column, check_cast, read_expression
from models.scorers.pmml.predictions import Prediction, label_column

Source = Callable[[Prediction, Frame], Column]


@dataclass(frozen=True)
class OutputField:
    """An output column of a model.

    Attributes:
      name: the name of the column.
      data_type: the data type of its values.
      source: computes its values from the prediction and the frame.
      final: whether it is a result of the whole file; otherwise it is for later models only.
    """

    name: str
    data_type: str
    source: Source
    final: bool = True


@dataclass(frozen=True)
class Given:
    """The facts that the reader of an output knows about its model."""

    context: Context
    read: ReadBody

    def predicted(self, element: Element) -> tuple[str, Source]:
        """The data type and the source of the predicted value."""
        return predicted(self.context.function, self.read.labels, self.context.label_type(), element)


def predicted(function: str, labels: tuple[str, ...], data_type: str, element: Element) -> tuple[str, Source]:
    """The data type and the source of the predicted value, for a model with this function and these labels."""
    if function == REGRESSION:
        return DOUBLE, _numbers
    data_type = STRING if function == CLUSTERING else data_type
    label_column(labels, np.zeros(0, np.int64), data_type, element)  # rejects labels that are not of the type

    def source(prediction: Prediction, _: Frame) -> Column:
        assert prediction.codes is not None
        return label_column(prediction.labels, prediction.codes, data_type, element)

    return data_type, source


def _numbers(prediction: Prediction, _: Frame) -> Column:
    assert prediction.numbers is not None
    return Column(prediction.numbers)


def probability(label: str | None) -> Source:
    """The probability of a class, or of the predicted class; 0 for a class that the model does not know."""

    def source(prediction: Prediction, frame: Frame) -> Column:
        shares, codes = prediction.probabilities, prediction.codes
        assert shares is not None and codes is not None
        if label is None:
            return Column(np.where(codes < 0, np.nan, shares[np.arange(frame.rows), codes]))
        if label not in prediction.labels:
            return Column(np.where(codes < 0, np.nan, 0.0))
        return Column(shares[:, prediction.labels.index(label)])

    return source


def _affinity(label: str | None) -> Source:
    def source(prediction: Prediction, frame: Frame) -> Column:
        affinities, codes = prediction.affinities, prediction.codes
        assert affinities is not None and codes is not None
        places = codes if label is None else np.full(frame.rows, prediction.labels.index(label))
        return Column(np.where(codes < 0, np.nan, affinities[np.arange(frame.rows), places]))

    return source


def _entity(prediction: Prediction, _: Frame) -> Column:
    assert prediction.entities is not None
    return prediction.entities


def _reason(rank: int) -> Source:
    def source(prediction: Prediction, frame: Frame) -> Column:
        if rank > len(prediction.reasons):
            return Column(np.full(frame.rows, None, object))
        return prediction.reasons[rank - 1]

    return source


_ATTRIBUTES = "name displayName optype dataType targetField feature value rank isFinalResult segmentId"
_FEATURES = (
    "predictedValue probability transformedValue decision entityId clusterId affinity clusterAffinity reasonCode"
)


def read_outputs(element: Element | None, given: Given, scope: Scope) -> tuple[OutputField, ...]:
    """Reads an Output; without one, there are no fields.

    Args:
      element: the Output.
      given: the model that it belongs to.
      scope: the fields that transformed values may refer to, besides the earlier output fields.
    """
    fields: list[OutputField] = []
    if element is None:
        return ()
    element.check("", "OutputField")
    for one in element.children:
        one.check(_ATTRIBUTES, EXPRESSIONS)
        field = _read_field(one, given, scope)
        if field.name in scope.fields:
            one.refuse("its name is that of another field")
        scope = scope.with_fields({field.name: field.data_type})
        fields.append(field)
    return tuple(fields)


def _read_field(element: Element, given: Given, scope: Scope) -> OutputField:
    feature = element.choice("feature", _FEATURES, "predictedValue")
    final = element.choice("isFinalResult", "true false", "true") == "true"
    target = given.context.target
    if element.get("targetField") is not None and (target is None or target.name != element.get("targetField")):
        element.refuse(f"targetField {element.get('targetField')!r} is not the target of the model")
    if feature in ("transformedValue", "decision"):
        expression = read_expression(element.only(*EXPRESSIONS.split()), scope, element.get("dataType"))
        found, source = expression.data_type, _evaluated(expression.evaluate)
    else:
        if element.children:
            element.refuse(f"feature {feature!r} takes no expression")
        found, source = _from_segment(element, feature, given)
    data_type = element.choice("dataType", DATA_TYPES, found)
    if data_type != found:
        check_cast(found, data_type, element)
        source = _cast(source, found, data_type)
    return OutputField(element.need("name"), data_type, source, final)


def _evaluated(evaluate: Callable[[Frame], Column]) -> Source:
    return lambda _, frame: evaluate(frame)


def _cast(source: Source, found: str, wanted: str) -> Source:
    return lambda prediction, frame: cast_column(source(prediction, frame), found, wanted, frame)


def _from_segment(element: Element, feature: str, given: Given) -> tuple[str, Source]:
    """The data type and the source of a field that comes from the model, or from one of its segments."""
    segment = element.get("segmentId")
    if segment is None:
        return _from_model(element, feature, given)
    models: Mapping[str, Model] = dict(given.read.segments)
    if segment not in models or feature not in ("predictedValue", "probability"):
        element.refuse(f"feature {feature!r} of segment {segment!r} is not supported")
    model = models[segment]
    if feature == "probability":
        label = _label(element, given, model.labels, model.has_probabilities)
        found, source = DOUBLE, probability(label)
    else:
        found, source = predicted(model.function, model.labels, given.context.label_type(), element)

    def of_segment(prediction: Prediction, frame: Frame) -> Column:
        return source(prediction.segments[segment], frame)

    return found, of_segment


def _label(element: Element, given: Given, labels: tuple[str, ...], known: bool) -> str | None:
    if given.context.function != CLASSIFICATION or not known:
        element.refuse("the model has no probabilities")
    if element.get("value") is None:
        return None
    label = given.context.label(element.need("value"), element)
    if label not in labels and label not in given.context.declared():
        element.refuse(f"the model has no class {label!r}; it has {', '.join(labels)}")
    return label


def _from_model(element: Element, feature: str, given: Given) -> tuple[str, Source]:
    if feature == "predictedValue":
        return given.predicted(element)
    if feature == "probability":
        return DOUBLE, probability(_label(element, given, given.read.labels, given.read.has_probabilities))
    if feature not in given.read.features:
        element.refuse(f"feature {feature!r} is not supported for this model")
    if feature == "reasonCode":
        rank = element.number("rank", 1.0)
        if rank < 1 or rank != int(rank):
            element.refuse("rank must be a whole number from 1")
        return STRING, _reason(int(rank))
    if feature in ("affinity", "clusterAffinity"):
        label = element.get("value")
        if label is not None and label not in given.read.labels:
            element.refuse(f"there is no cluster {label!r}")
        return DOUBLE, _affinity(label)
    if given.context.function == CLUSTERING:
        return given.predicted(element)
    return STRING, _entity


def default_outputs(given: Given, element: Element) -> tuple[OutputField, ...]:
    """The fields of a model without an Output: the target, and the probability of each class."""
    data_type, source = given.predicted(element)
    target = given.context.target
    name = target.name if target is not None else "prediction"
    fields = [OutputField(name, data_type, source)]
    if given.read.has_probabilities:
        fields += [OutputField(f"probability_{label}", DOUBLE, probability(label)) for label in given.read.labels]
    return tuple(fields)
