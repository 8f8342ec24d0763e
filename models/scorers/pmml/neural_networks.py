"""NeuralNetwork: layers of neurons, each layer one product of matrices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from models.scorers.pmml.columns import Derived, Floats, Frame
from models.scorers.pmml.context import COMMON_ATTRIBUTES, COMMON_CHILDREN, REGRESSION, Context, ReadBody
from models.scorers.pmml.elements import Element
from models.scorers.pmml.expressions import read_derived
from models.scorers.pmml.links import logistic, simplemax, softmax
from models.scorers.pmml.mappings import Line, read_line
from models.scorers.pmml.predictions import Prediction, classified

_ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {
    "logistic": logistic,
    "tanh": np.tanh,
    "identity": lambda z: z,
    "exponential": np.exp,
    "reciprocal": lambda z: 1 / z,
    "square": np.square,
    "Gauss": lambda z: np.exp(-np.square(z)),
    "sine": np.sin,
    "cosine": np.cos,
    "Elliott": lambda z: z / (1 + np.abs(z)),
    "arctan": lambda z: 2 * np.arctan(z) / np.pi,
    "rectifier": lambda z: np.maximum(z, 0),
}
_NAMES = " ".join([*_ACTIVATIONS, "threshold"])
_METHODS = "none simplemax softmax"


@dataclass(frozen=True)
class Layer:
    """A layer; its weights are [all values before it, neurons]."""

    weights: Floats
    bias: Floats
    activation: str
    threshold: float
    normalization: str

    def values(self, before: Floats) -> Floats:
        """The values of its neurons: [rows, neurons]."""
        first = np.flatnonzero(self.weights.any(axis=1))[:1].sum()  # usually, only the previous layer matters
        with np.errstate(all="ignore"):
            z = before[:, first:] @ self.weights[first:] + self.bias
            if self.activation == "threshold":
                active = np.where(np.isnan(z), np.nan, z > self.threshold)
            else:
                active = _ACTIVATIONS[self.activation](z)
            if self.normalization == "softmax":
                return softmax(active)
            return simplemax(active) if self.normalization == "simplemax" else np.asarray(active, np.float64)


@dataclass(frozen=True)
class Network:
    """A network.

    Attributes:
      inputs: the expressions of the first values.
      layers: the layers in their order.
      outputs: the indices of the outputs among all values.
      labels: the labels of the outputs; empty for a regression.
      line: maps a number back to the scale of the target.
    """

    inputs: tuple[Derived, ...]
    layers: tuple[Layer, ...]
    outputs: tuple[int, ...]
    labels: tuple[str, ...]
    line: Line | None

    def predict(self, frame: Frame) -> Prediction:
        """Scores all rows; a row that lacks a value has no result."""
        values = np.stack([derived.evaluate(frame).values for derived in self.inputs], axis=1)
        lacking = np.isnan(values).any(axis=1)
        for layer in self.layers:
            values = np.concatenate([values, layer.values(values)], axis=1)
        results = values[:, list(self.outputs)]
        results[lacking | ~np.isfinite(results).all(axis=1)] = np.nan
        if self.labels:
            return classified(self.labels, results)
        return Prediction(numbers=results[:, 0] if self.line is None else self.line.mapped(results[:, 0]))


_ATTRIBUTES = f"{COMMON_ATTRIBUTES} activationFunction normalizationMethod threshold numberOfLayers"


def read_network(element: Element, context: Context) -> ReadBody:
    """Reads a NeuralNetwork."""
    element.check(_ATTRIBUTES, f"{COMMON_CHILDREN} NeuralInputs NeuralLayer NeuralOutputs")
    places: dict[str, int] = {}
    inputs = []
    for one in element.only("NeuralInputs").all("NeuralInput"):
        one.check("id", "DerivedField")
        _, derived = read_derived(one.only("DerivedField"), context.scope)
        if derived.data_type == "string":
            one.refuse("its field must be a number")
        _add(places, one)
        inputs.append(derived)
    if not inputs:
        element.refuse("it has no inputs")
    layers = tuple(_read_layer(one, element, places) for one in element.all("NeuralLayer"))
    outputs, labels, line = _read_outputs(element.only("NeuralOutputs"), context, places)
    network = Network(tuple(inputs), layers, outputs, labels, line)
    return ReadBody(network, labels, has_probabilities=bool(labels))


def _add(places: dict[str, int], element: Element) -> None:
    name = element.need("id")
    if name in places:
        element.refuse(f"the id {name!r} is there twice")
    places[name] = len(places)


def _read_layer(element: Element, network: Element, places: dict[str, int]) -> Layer:
    element.check("numberOfNeurons activationFunction threshold normalizationMethod", "Neuron")
    neurons = element.all("Neuron")
    weights, bias = np.zeros((len(places), len(neurons))), np.zeros(len(neurons))
    for number, neuron in enumerate(neurons):
        neuron.check("id bias", "Con")
        bias[number] = neuron.number("bias", 0.0)
        for connection in neuron.children:
            connection.check("from weight")
            source = places.get(connection.need("from"))
            if source is None or source >= len(weights):
                connection.refuse(f"there is no neuron {connection.need('from')!r} in a layer before it")
            weights[source, number] += connection.number("weight")
    for neuron in neurons:
        _add(places, neuron)

    def setting(name: str) -> Element:
        return element if name in element.attributes else network

    activation = setting("activationFunction").choice("activationFunction", _NAMES)
    # A normalization of the whole network is that of its last layer.
    last = network.all("NeuralLayer")[-1] is element
    normalizing = network if last and "normalizationMethod" not in element.attributes else element
    normalization = normalizing.choice("normalizationMethod", _METHODS, "none")
    threshold = setting("threshold").number("threshold", 0.0)
    return Layer(weights, bias, activation, threshold, normalization)


def _read_outputs(
    element: Element, context: Context, places: dict[str, int]
) -> tuple[tuple[int, ...], tuple[str, ...], Line | None]:
    element.check("numberOfOutputs", "NeuralOutput")
    outputs, labels, line = [], [], None
    for one in element.children:
        one.check("outputNeuron", "DerivedField")
        if one.need("outputNeuron") not in places:
            one.refuse(f"there is no neuron {one.need('outputNeuron')!r}")
        outputs.append(places[one.need("outputNeuron")])
        field = one.only("DerivedField")
        field.check("name displayName optype dataType", "FieldRef NormContinuous NormDiscrete")
        if context.function == REGRESSION:
            expression = field.only("FieldRef", "NormContinuous")
            line = _inverse(expression) if expression.tag == "NormContinuous" else None
        else:
            expression = field.only("NormDiscrete")
            expression.check("field value")
            labels.append(context.label(expression.need("value"), expression))
    if context.function == REGRESSION and len(outputs) != 1:
        element.refuse("a regression has one output")
    if (context.function != REGRESSION and len(set(labels)) != len(outputs)) or not outputs:
        element.refuse("a classification has one output for each class")
    return tuple(outputs), tuple(labels), line


def _inverse(element: Element) -> Line:
    """The lines of a NormContinuous, from its output values back to its input values."""
    line = read_line(element)
    if any(one >= other for one, other in pairwise(line.after)):
        element.refuse("it must grow, so that it can be inverted")
    return Line(line.after, line.before, line.outliers)
