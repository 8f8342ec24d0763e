"""A whole PMML file: its inputs, its outputs, and the model between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from models.scorers.pmml.clusters import read_clusters
from models.scorers.pmml.columns import STRING, Column, Derived, Frame, Scope
from models.scorers.pmml.context import (
    CLASSIFICATION,
    CLUSTERING,
    REGRESSION,
    Body,
    Context,
    ReadBody,
    supported_function,
)
from models.scorers.pmml.elements import Element, read_elements
from models.scorers.pmml.expressions import read_transformations
from models.scorers.pmml.fields import DataField, MiningSchema, read_dictionary, read_mining_schema
from models.scorers.pmml.general_regression import read_general_regression
from models.scorers.pmml.mining import MODEL_TAGS, AllSegments, read_mining
from models.scorers.pmml.naive_bayes import read_naive_bayes
from models.scorers.pmml.neural_networks import read_network
from models.scorers.pmml.outputs import Given, OutputField, default_outputs, read_outputs
from models.scorers.pmml.predictions import Prediction
from models.scorers.pmml.regression import read_regression
from models.scorers.pmml.scorecards import read_scorecard
from models.scorers.pmml.targets import Target, read_targets
from models.scorers.pmml.trees import read_tree

_BOTH = f"{REGRESSION} {CLASSIFICATION}"
_READERS: Mapping[str, tuple[Callable[[Element, Context], ReadBody], str]] = {
    "ClusteringModel": (read_clusters, CLUSTERING),
    "GeneralRegressionModel": (read_general_regression, _BOTH),
    "MiningModel": (read_mining, f"{_BOTH} {CLUSTERING}"),
    "NaiveBayesModel": (read_naive_bayes, CLASSIFICATION),
    "NeuralNetwork": (read_network, _BOTH),
    "RegressionModel": (read_regression, _BOTH),
    "Scorecard": (read_scorecard, REGRESSION),
    "TreeModel": (read_tree, _BOTH),
}
_VERSIONS = "4.0 4.1 4.2 4.2.1 4.3 4.4 4.4.1"


@dataclass(frozen=True)
class ReadModel:
    """A model with the parts that all kinds have: it treats fields, predicts, and computes output fields."""

    function: str
    labels: tuple[str, ...]
    has_probabilities: bool
    schema: MiningSchema
    derived: Mapping[str, Derived]
    body: Body
    target: Target
    outputs: tuple[OutputField, ...]

    @property
    def output_types(self) -> dict[str, str]:
        """The data types of its output fields."""
        return {field.name: field.data_type for field in self.outputs}

    @property
    def bare(self) -> Body | None:
        """Its body, if it treats no field, derives none, and adds nothing to the predictions of the body."""
        plain = all(field.plain for field in self.schema.active) and self.target == Target()
        return self.body if plain and not self.derived and not self.outputs else None

    def score(self, parent: Frame) -> tuple[Prediction, Frame]:
        """The prediction, and the frame that has the output fields; rejected rows have neither."""
        fields = self.schema.frame(parent)
        frame = Frame(fields.rows, {}, self.derived, parent=fields)
        frame.reject(fields.invalid)
        prediction = self.target.applied(self.body.predict(frame))
        prediction = prediction.without(frame.invalid | fields.invalid)
        for field in self.outputs:
            frame.add({field.name: field.source(prediction, frame)})
        rejected = frame.invalid | fields.invalid
        return prediction.without(rejected), frame


@dataclass(frozen=True)
class Document:
    """A file that can be scored.

    Attributes:
      inputs: the input fields.
      model: the model.
      outputs: the output fields.
    """

    inputs: tuple[DataField, ...]
    model: ReadModel
    outputs: tuple[OutputField, ...]

    def score(self, columns: Mapping[str, Column], rows: int) -> dict[str, Column]:
        """The output columns for these input columns."""
        _, frame = self.model.score(Frame(rows, columns))
        found = {field.name: frame.column(field.name) for field in self.outputs}
        if not frame.invalid.any():
            return found
        return {name: _without(column, frame) for name, column in found.items()}


def _without(column: Column, frame: Frame) -> Column:
    values = column.values.copy()
    values[frame.invalid] = None if column.is_text else float("nan")
    return Column(values)


def read_document(content: bytes) -> Document:
    """Reads a PMML file.

    Raises:
      ModelLoadError: it is not a PMML file, or contains something that is not supported; the message names the line
        and the element.
    """
    root = read_elements(content)
    if root.tag != "PMML":
        root.refuse("the root must be PMML")
    root.check("version", f"Header MiningBuildTask DataDictionary TransformationDictionary {MODEL_TAGS}")
    root.choice("version", _VERSIONS)
    known = read_dictionary(root.only("DataDictionary"))
    models = root.all(*MODEL_TAGS.split())
    if len(models) != 1:
        root.refuse(f"the file has {len(models)} models; exactly one is supported")
    transformations = root.all("TransformationDictionary")
    return _read_top(models[0], known, transformations)


def _read_top(element: Element, known: Mapping[str, DataField], transformations: list[Element]) -> Document:
    schema = read_mining_schema(element.only("MiningSchema"), known, known)
    local = element.all("LocalTransformations")
    model = _read_model(element, schema, Scope({}), [*transformations, *local], known)
    if not schema.active:
        element.refuse("it has no active fields, so no record could make a difference to it")
    outputs = tuple(field for field in model.outputs if field.final)
    return Document(tuple(field.field for field in schema.active), model, outputs)


def _read_model(
    element: Element,
    schema: MiningSchema,
    around: Scope,
    transformations: list[Element],
    known: Mapping[str, DataField],
    top: bool = True,
) -> ReadModel:
    """Reads a model.

    Args:
      element: the element of the model.
      schema: its mining schema.
      around: the surrounding context, as far as the model may refer to it.
      transformations: the elements that derive fields for it.
      known: the fields of the data dictionary.
      top: whether it is the model of the file; otherwise it is a segment.
    """
    read, functions = _READERS[element.tag]
    function = supported_function(element, functions)
    scope = around.with_fields({field.name: field.field.data_type for field in schema.active})
    derived, scope = read_transformations(transformations, scope)
    shared = {**around.fields, **{name: field.data_type for name, field in derived.items()}}

    def read_segment(segment: Element, inner: Scope) -> ReadModel:
        fields = {**known, **{name: _described(name, inner.fields[name], known) for name in inner.fields}}
        visible = {name: fields[name] for name in inner.fields}
        part = read_mining_schema(segment.only("MiningSchema"), visible, fields)
        hidden = Scope({name: kind for name, kind in shared.items() if name in inner.fields})
        return _read_model(segment, part, hidden, segment.all("LocalTransformations"), fields, top=False)

    context = Context(scope, function, schema.target, read_segment)
    body = read(element, context)
    given = Given(context, body)
    output = element.find("Output")
    outputs = read_outputs(output, given, scope) if output is not None else ()
    if top and not any(field.final for field in outputs):
        outputs = default_outputs(given, element)
    if isinstance(body.body, AllSegments) and not all_named(output):
        element.refuse("selectAll needs an Output whose fields each name a segmentId")
    target = read_targets(element.find("Targets"), function)
    labels, shares = body.labels, body.has_probabilities
    return ReadModel(function, labels, shares, schema, derived, body.body, target, outputs)


def all_named(output: Element | None) -> bool:
    """Whether each field of an Output names a segment, or is computed from others."""
    features = ("transformedValue", "decision")
    fields = () if output is None else output.children
    return bool(fields) and all("segmentId" in one.attributes or one.get("feature") in features for one in fields)


def _described(name: str, data_type: str, known: Mapping[str, DataField]) -> DataField:
    """A field that a segment may use: one of the dictionary, or a computed one."""
    if name in known:
        return known[name]
    return DataField(name, data_type, "categorical" if data_type == STRING else "continuous")
