"""Writes fitted scikit-learn estimators as PMML, as converters do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/>'


def tag(tag_: str, content: Iterable[str] | str = (), /, **attributes: object) -> str:
    """An element; an underscore at the end of an attribute's name is dropped."""
    texts = "".join(f" {key.rstrip('_')}={quoteattr(str(value))}" for key, value in attributes.items())
    return f"<{tag_}{texts}>{''.join(content)}</{tag_}>"


def names(count: int) -> list[str]:
    return [f"x{place}" for place in range(count)]


def number(value: Any) -> str:
    return repr(float(value))


def dictionary(features: Sequence[str], target: str, classes: Sequence[object] = (), data_type: str = "double") -> str:
    fields = [tag("DataField", name=name, optype="continuous", dataType=data_type) for name in features]
    values = [tag("Value", value=one) for one in classes]
    optype, kind = ("categorical", "string") if classes else ("continuous", "double")
    return tag("DataDictionary", [*fields, tag("DataField", values, name=target, optype=optype, dataType=kind)])


def schema(features: Sequence[str], target: str | None = "y") -> str:
    fields = [tag("MiningField", name=name) for name in features]
    return tag("MiningSchema", [*fields, *([tag("MiningField", name=target, usageType="target")] if target else [])])


def document(features: Sequence[str], classes: Sequence[object], model: str) -> bytes:
    return (HEAD + dictionary(features, "y", classes) + model + "</PMML>").encode()


def tree(estimator: Any, features: Sequence[str], classes: Sequence[object], target: str | None = "y") -> str:
    inner = estimator.tree_

    def node(place: int, predicate: str) -> str:
        values = inner.value[place][0]
        content = [predicate]
        if classes:
            score: object = classes[int(values.argmax())]
            content += [
                tag("ScoreDistribution", value=one, recordCount=number(count))
                for one, count in zip(classes, values, strict=True)
            ]
        else:
            score = number(values[0])
        if inner.children_left[place] != -1:
            field, cut = features[inner.feature[place]], number(inner.threshold[place])
            for child, operator in ((inner.children_left, "lessOrEqual"), (inner.children_right, "greaterThan")):
                content.append(node(child[place], tag("SimplePredicate", field=field, operator=operator, value=cut)))
        return tag("Node", content, score=score, recordCount=number(inner.n_node_samples[place]))

    function = "classification" if classes else "regression"
    content = [schema(features, target), node(0, "<True/>")]
    return tag("TreeModel", content, functionName=function, splitCharacteristic="binarySplit")


def ensemble(
    features: Sequence[str], models: Sequence[str], method: str, function: str, targets: str = "", output: str = ""
) -> str:
    segments = [tag("Segment", ["<True/>", one], id=place + 1) for place, one in enumerate(models)]
    segmentation = tag("Segmentation", segments, multipleModelMethod=method)
    return tag("MiningModel", [schema(features), output, targets, segmentation], functionName=function)


def forest(estimator: Any, features: Sequence[str], classes: Sequence[object]) -> str:
    trees = [tree(one, features, classes, None) for one in estimator.estimators_]
    return ensemble(features, trees, "average", "classification" if classes else "regression")


def boosted(estimator: Any, features: Sequence[str]) -> str:
    trees = [tree(one, features, [], None) for one in estimator.estimators_[:, 0]]
    start = estimator.init_.constant_[0][0]
    scale = tag("Target", field="y", rescaleFactor=number(estimator.learning_rate), rescaleConstant=number(start))
    return ensemble(features, trees, "sum", "regression", tag("Targets", scale))


def table(intercept: float, coefficients: Sequence[float], features: Sequence[str], **attributes: object) -> str:
    terms = [
        tag("NumericPredictor", name=name, coefficient=number(one))
        for name, one in zip(features, coefficients, strict=True)
    ]
    return tag("RegressionTable", terms, intercept=number(intercept), **attributes)


def logistic(estimator: Any, features: Sequence[str], classes: Sequence[object]) -> str:
    if len(classes) == 2:
        tables = [
            table(estimator.intercept_[0], estimator.coef_[0], features, targetCategory=classes[1]),
            table(0.0, [], [], targetCategory=classes[0]),
        ]
        method = "logit"
    else:
        rows = zip(estimator.intercept_, estimator.coef_, classes, strict=True)
        tables = [table(start, row, features, targetCategory=label) for start, row, label in rows]
        method = "softmax"
    content = [schema(features), *tables]
    return tag("RegressionModel", content, functionName="classification", normalizationMethod=method)


def network(estimator: Any, features: Sequence[str], classes: Sequence[object]) -> str:
    inputs = [
        tag(
            "NeuralInput",
            tag("DerivedField", tag("FieldRef", field=name), optype="continuous", dataType="double"),
            id=f"0,{place}",
        )
        for place, name in enumerate(features)
    ]
    content = [schema(features), tag("NeuralInputs", inputs)]
    last = len(estimator.coefs_) - 1
    for layer, (weights, bias) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        neurons = [
            tag(
                "Neuron",
                [tag("Con", from_=f"{layer},{source}", weight=number(one)) for source, one in enumerate(column)],
                id=f"{layer + 1},{place}",
                bias=number(start),
            )
            for place, (column, start) in enumerate(zip(weights.T, bias, strict=True))
        ]
        settings = {"activationFunction": "identity"} if layer == last else {}
        if layer == last and classes:
            settings["normalizationMethod"] = "softmax"
        content.append(tag("NeuralLayer", neurons, **settings))
    content.append(
        tag("NeuralOutputs", [_neural_output(last + 1, place, one) for place, one in enumerate(classes or [None])])
    )
    function = "classification" if classes else "regression"
    names_of = {"relu": "rectifier", "tanh": "tanh", "logistic": "logistic"}
    return tag("NeuralNetwork", content, functionName=function, activationFunction=names_of[estimator.activation])


def _neural_output(layer: int, place: int, label: object) -> str:
    if label is None:
        field = tag("DerivedField", tag("FieldRef", field="y"), optype="continuous", dataType="double")
    else:
        inner = tag("NormDiscrete", field="y", value=label)
        field = tag("DerivedField", inner, optype="categorical", dataType="string")
    return tag("NeuralOutput", field, outputNeuron=f"{layer},{place}")


def clusters(estimator: Any, features: Sequence[str]) -> str:
    content = [schema(features, None), tag("ComparisonMeasure", "<squaredEuclidean/>", kind="distance")]
    content += [tag("ClusteringField", field=name) for name in features]
    content += [
        tag("Cluster", tag("Array", " ".join(map(number, center)), n=len(features), type="real"), id=place)
        for place, center in enumerate(estimator.cluster_centers_)
    ]
    settings = {"functionName": "clustering", "modelClass": "centerBased", "numberOfClusters": estimator.n_clusters}
    return tag("ClusteringModel", content, **settings)


def bayes(estimator: Any, features: Sequence[str], classes: Sequence[object]) -> str:
    inputs = []
    for place, name in enumerate(features):
        stats = [
            tag(
                "TargetValueStat",
                tag("GaussianDistribution", mean=number(mean[place]), variance=number(variance[place])),
                value=label,
            )
            for label, mean, variance in zip(classes, estimator.theta_, estimator.var_, strict=True)
        ]
        inputs.append(tag("BayesInput", tag("TargetValueStats", stats), fieldName=name))
    counts = [
        tag("TargetValueCount", value=label, count=number(count))
        for label, count in zip(classes, estimator.class_count_, strict=True)
    ]
    output = tag("BayesOutput", tag("TargetValueCounts", counts), fieldName="y")
    content = [schema(features), tag("BayesInputs", inputs), output]
    return tag("NaiveBayesModel", content, functionName="classification", threshold=0)
