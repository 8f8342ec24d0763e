"""A second evaluator, as slow and simple as possible: one row at a time, recursively over the XML.

It is written from the text of the standard and shares no code with ours. It supports the features that the generated
documents use. A missing value is None.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from typing import Any

Row = dict[str, Any]
SPACE = "{http://www.dmg.org/PMML-4_4}"
UNKNOWN = "unknown"


def children(element: ET.Element, *tags: str) -> list[ET.Element]:
    return [one for one in element if one.tag.replace(SPACE, "") in tags]


def child(element: ET.Element, *tags: str) -> ET.Element:
    return children(element, *tags)[0]


def name(element: ET.Element) -> str:
    return element.tag.replace(SPACE, "")


def typed(text: str, value: Any) -> Any:
    """The text of the file as a value that can be compared with the given one."""
    return text if isinstance(value, str) else float(text)


def truth_of(element: ET.Element, row: Row) -> bool | str:
    kind = name(element)
    if kind in ("True", "False"):
        return kind == "True"
    if kind == "CompoundPredicate":
        return compound(element.get("booleanOperator"), [truth_of(one, row) for one in element])
    value = row[element.attrib["field"]]
    if kind == "SimpleSetPredicate":
        if value is None:
            return UNKNOWN
        items = [typed(one, value) for one in (child(element, "Array").text or "").split()]
        return (value in items) == (element.get("booleanOperator") == "isIn")
    operator = element.get("operator")
    if operator in ("isMissing", "isNotMissing"):
        return (value is None) == (operator == "isMissing")
    if value is None:
        return UNKNOWN
    other = typed(element.attrib["value"], value)
    found: bool = {
        "equal": value == other,
        "notEqual": value != other,
        "lessThan": value < other,
        "lessOrEqual": value <= other,
        "greaterThan": value > other,
        "greaterOrEqual": value >= other,
    }[str(operator)]
    return found


def compound(operator: str | None, parts: list[bool | str]) -> bool | str:
    if operator == "surrogate":
        known = [part for part in parts if part != UNKNOWN]
        return known[0] if known else UNKNOWN
    if operator == "and":
        return False if False in parts else UNKNOWN if UNKNOWN in parts else True
    if operator == "or":
        return True if True in parts else UNKNOWN if UNKNOWN in parts else False
    return UNKNOWN if UNKNOWN in parts else parts.count(True) % 2 == 1


def distribution(node: ET.Element, counts: bool = False) -> dict[str, float]:
    found = {one.attrib["value"]: float(one.attrib["recordCount"]) for one in children(node, "ScoreDistribution")}
    return found if counts else {label: count / sum(found.values()) for label, count in found.items()}


def final_node(tree: ET.Element, node: ET.Element, row: Row) -> ET.Element | None:
    """The node at which a row ends, for the strategies that follow one path."""
    inner = children(node, "Node")
    if not inner:
        return node
    strategy = tree.get("missingValueStrategy", "none")
    for one in inner:
        truth = truth_of(one[0], row)
        if truth is True:
            return final_node(tree, one, row)
        if truth == UNKNOWN and strategy != "none":
            if strategy == "nullPrediction":
                return None
            if strategy == "lastPrediction":
                return node
            (default,) = [other for other in inner if other.get("id") == node.get("defaultChild")]
            return final_node(tree, default, row)
    return node if tree.get("noTrueChildStrategy") == "returnLastPrediction" else None


def mixed(tree: ET.Element, node: ET.Element, row: Row) -> dict[str, float] | None:
    """The confidences or counts of the classes, for the strategies that follow several paths."""
    weighted = tree.get("missingValueStrategy") == "weightedConfidence"
    inner = children(node, "Node")
    if not inner:
        return distribution(node, counts=not weighted)
    truths = [truth_of(one[0], row) for one in inner]
    open_ = [place for place, truth in enumerate(truths) if truth is not False]
    if not open_:
        last = tree.get("noTrueChildStrategy") == "returnLastPrediction"
        return distribution(node, counts=not weighted) if last else None
    if truths[open_[0]] is True:
        return mixed(tree, inner[open_[0]], row)
    if not weighted and True in truths:
        open_ = [place for place in open_ if place <= truths.index(True)]
    parts = [(float(inner[place].attrib["recordCount"]), mixed(tree, inner[place], row)) for place in open_]
    total: dict[str, float] = {}
    for count, part in parts:
        if part is None:
            return None
        for label, share in part.items():
            total[label] = total.get(label, 0) + share * (count if weighted else 1)
    whole = sum(count for count, _ in parts) if weighted else 1
    return {label: share / whole for label, share in total.items()}


def tree_result(tree: ET.Element, row: Row) -> Any:
    """A number, or a label with the shares of the classes; None if there is no result."""
    root = child(tree, "Node")
    if truth_of(root[0], row) is not True:
        return None
    if tree.get("missingValueStrategy") in ("weightedConfidence", "aggregateNodes"):
        shares = mixed(tree, root, row)
        if not shares or not sum(shares.values()):
            return None
        shares = {label: share / sum(shares.values()) for label, share in shares.items()}
        return max(sorted(shares), key=lambda label: shares[label]), shares
    node = final_node(tree, root, row)
    if node is None or node.get("score") is None:
        return None
    if tree.get("functionName") == "regression":
        return float(node.attrib["score"])
    return node.attrib["score"], distribution(node)


def combined(model: ET.Element, row: Row) -> Any:
    segmentation = child(model, "Segmentation")
    method = segmentation.attrib["multipleModelMethod"]
    chosen = [one for one in segmentation if truth_of(one[0], row) is True]
    if method == "selectFirst":
        return result(chosen[0][1], row) if chosen else None
    results = [(float(one.get("weight", "1")), result(one[1], row)) for one in chosen]
    if segmentation.get("missingPredictionTreatment") == "skipSegment":
        results = [(weight, value) for weight, value in results if value is not None]
    if not results or any(value is None for _, value in results):
        return None
    if not method.startswith("weighted"):
        results = [(1.0, value) for _, value in results]
    if model.get("functionName") == "classification":
        return votes(results, shares=method.lower().endswith("average"))
    numbers = sorted(value for _, value in results)
    middle = len(numbers) // 2
    total = sum(weight for weight, _ in results)
    combine: dict[str, Callable[[], Any]] = {
        "average": lambda: sum(numbers) / len(numbers),
        "weightedAverage": lambda: sum(weight * value for weight, value in results) / total if total else None,
        "weightedSum": lambda: sum(weight * value for weight, value in results),
        "sum": lambda: sum(numbers),
        "max": lambda: numbers[-1],
        "median": lambda: numbers[middle] if len(numbers) % 2 else (numbers[middle - 1] + numbers[middle]) / 2,
    }
    return combine[method]()


def votes(results: list[tuple[float, Any]], shares: bool) -> Any:
    total: dict[str, float] = {}
    for weight, (label, parts) in results:
        for one, share in (parts if shares else {label: 1.0}).items():
            total[one] = total.get(one, 0.0) + weight * share
    whole = sum(weight for weight, _ in results)
    if not whole:
        return None
    # Of several with the same number of votes, the first one in the order of the target wins.
    return max(sorted(total), key=lambda one: total[one]), {one: value / whole for one, value in total.items()}


LINKS: Mapping[str, Callable[[float], float]] = {
    "none": lambda y: y,
    "identity": lambda y: y,
    "softmax": lambda y: 1 / (1 + math.exp(-y)),
    "logit": lambda y: 1 / (1 + math.exp(-y)),
    "exp": math.exp,
    "log": math.exp,
    "probit": lambda y: (1 + math.erf(y / math.sqrt(2))) / 2,
    "cloglog": lambda y: 1 - math.exp(-math.exp(y)),
    "loglog": lambda y: math.exp(-math.exp(-y)),
    "cauchit": lambda y: 0.5 + math.atan(y) / math.pi,
    "logc": lambda y: 1 - math.exp(y),
}


def table_sum(table: ET.Element, row: Row) -> float | None:
    total = float(table.attrib["intercept"])
    for term in table:
        if name(term) == "CategoricalPredictor":
            total += float(term.attrib["coefficient"]) * (row[term.attrib["name"]] == term.attrib["value"])
            continue
        fields = [term.get("name")] if name(term) == "NumericPredictor" else [one.get("field") for one in term]
        value = float(term.attrib["coefficient"])
        for field in fields:
            one = row[str(field)]
            if one is None:
                return None
            value *= one ** float(term.get("exponent", "1"))
        total += value
    return total


def regression_result(model: ET.Element, row: Row) -> Any:
    tables = children(model, "RegressionTable")
    sums = [table_sum(table, row) for table in tables]
    if None in sums:
        return None
    values = [one for one in sums if one is not None]
    method = model.get("normalizationMethod", "none")
    if model.get("functionName") == "regression":
        return LINKS[method](values[0])
    labels = [table.attrib["targetCategory"] for table in tables]
    if method == "softmax":
        powers = [math.exp(value) for value in values]
        shares = [power / sum(powers) for power in powers]
    else:
        first = min(max(LINKS[method](values[0]), 0.0), 1.0)
        shares = [first, 1 - first]
    named = dict(zip(labels, shares, strict=True))
    return max(labels, key=lambda label: named[label]), named


def scorecard_result(model: ET.Element, row: Row) -> Any:
    total = float(model.get("initialScore", "0"))
    for characteristic in child(model, "Characteristics"):
        fitting = [one for one in characteristic if truth_of(one[0], row) is True]
        if not fitting:
            return None
        total += float(fitting[0].attrib["partialScore"])
    return total


def general_result(model: ET.Element, row: Row) -> Any:
    factors = {one.get("name") for one in child(model, "FactorList")}
    cells = list(child(model, "PPMatrix"))
    total = 0.0
    for beta in child(model, "ParamMatrix"):
        value = float(beta.attrib["beta"])
        for cell in cells:
            if cell.get("parameterName") != beta.get("parameterName"):
                continue
            found = row[cell.attrib["predictorName"]]
            if found is None:
                return None
            is_factor = cell.get("predictorName") in factors
            value *= (found == cell.get("value")) if is_factor else found ** float(cell.attrib["value"])
        total += value
    return LINKS[model.attrib["linkFunction"]](total)


KINDS: Mapping[str, Callable[[ET.Element, Row], Any]] = {
    "GeneralRegressionModel": general_result,
    "MiningModel": combined,
    "RegressionModel": regression_result,
    "Scorecard": scorecard_result,
    "TreeModel": tree_result,
}


def result(model: ET.Element, row: Row) -> Any:
    """A number, or a label with the shares of the classes; None if there is no result."""
    return KINDS[name(model)](model, row)


def results(content: bytes, rows: list[Row]) -> list[Any]:
    """The results of the only model of a document."""
    (model,) = [one for one in ET.fromstring(content) if name(one) in KINDS]
    return [result(model, row) for row in rows]
