"""Random documents and rows: trees of all strategies, ensembles, regressions and scorecards, with missing values."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.models.scorers.pmml.exported import HEAD, number, tag

NUMBERS, TEXTS = ("n0", "n1", "n2"), ("t0", "t1")
CUTS = (-1.0, 0.0, 0.5, 2.0)
WORDS = ("red", "green", "blue")
LABELS = ("a", "b", "c")
ORDERS = ("lessThan", "lessOrEqual", "greaterThan", "greaterOrEqual", "equal", "notEqual")

# Values at the thresholds, so that equal ones occur.
ROW = st.fixed_dictionaries(
    {
        **{name: st.sampled_from((None, *CUTS, 0.25, -3.0, 7.0)) for name in NUMBERS},
        **{name: st.sampled_from((None, *WORDS, "other")) for name in TEXTS},
    }
)
ROWS = st.lists(ROW, min_size=1, max_size=30)
COEFFICIENTS = st.sampled_from((-1.5, -0.25, 0.5, 1.0))


@st.composite
def simple(draw: Any) -> str:
    kind = draw(st.integers(0, 3))
    if kind == 0:
        field = draw(st.sampled_from(NUMBERS + TEXTS))
        return tag("SimplePredicate", field=field, operator=draw(st.sampled_from(("isMissing", "isNotMissing"))))
    if kind == 1:
        words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=2))
        array = tag("Array", " ".join(words), n=len(words), type="string")
        operator = draw(st.sampled_from(("isIn", "isNotIn")))
        return tag("SimpleSetPredicate", array, field=draw(st.sampled_from(TEXTS)), booleanOperator=operator)
    if kind == 2:
        field, operator = draw(st.sampled_from(TEXTS)), draw(st.sampled_from(ORDERS[4:]))
        return tag("SimplePredicate", field=field, operator=operator, value=draw(st.sampled_from(WORDS)))
    value = number(draw(st.sampled_from(CUTS)))
    operator = draw(st.sampled_from(ORDERS))
    return tag("SimplePredicate", field=draw(st.sampled_from(NUMBERS)), operator=operator, value=value)


@st.composite
def predicates(draw: Any) -> str:
    if draw(st.integers(0, 3)):
        return str(draw(simple()))
    parts = draw(st.lists(simple(), min_size=2, max_size=3))
    operator = draw(st.sampled_from(("and", "or", "xor", "surrogate")))
    return tag("CompoundPredicate", parts, booleanOperator=operator)


@st.composite
def nodes(draw: Any, predicate: str, classes: bool, depth: int, binary: bool = False, name: str = "1") -> str:
    """A node; its id is its path from the root. If `binary`, its descendants compare one number both ways."""
    content = [predicate]
    attributes: dict[str, object] = {"id": name, "recordCount": draw(st.integers(1, 9))}
    if classes:
        counts = draw(st.lists(st.integers(0, 9), min_size=3, max_size=3).filter(any))
        content += [
            tag("ScoreDistribution", value=one, recordCount=count) for one, count in zip(LABELS, counts, strict=True)
        ]
        attributes["score"] = draw(st.sampled_from(LABELS))
    else:
        attributes["score"] = draw(st.integers(-9, 9))
    most = 2 if binary else 3
    count = draw(st.integers(2, most)) if depth and draw(st.booleans()) else 0
    if count:
        attributes["defaultChild"] = f"{name}.{draw(st.integers(1, count))}"
        both_ways = binary or (count == 2 and draw(st.booleans()))
        tests = draw(opposite()) if both_ways else [draw(predicates()) for _ in range(count)]
        content += [
            draw(nodes(test, classes, depth - 1, binary, f"{name}.{place}"))
            for place, test in enumerate(tests, start=1)
        ]
    return tag("Node", content, **attributes)


@st.composite
def opposite(draw: Any) -> list[str]:
    """A comparison of one number in both directions, as most libraries write it."""
    one, other = draw(st.sampled_from((("lessThan", "greaterOrEqual"), ("lessOrEqual", "greaterThan"))))
    field, value = draw(st.sampled_from(NUMBERS)), number(draw(st.sampled_from(CUTS)))
    pair = [tag("SimplePredicate", field=field, operator=each, value=value) for each in (one, other)]
    first, second = pair[:: draw(st.sampled_from((1, -1)))]
    return [first, draw(st.sampled_from((second, "<True/>")))]


def schema(target: bool) -> str:
    fields = [tag("MiningField", name=name) for name in NUMBERS + TEXTS]
    return tag("MiningSchema", [*fields, *([tag("MiningField", name="y", usageType="target")] if target else [])])


@st.composite
def trees(draw: Any, classes: bool, target: bool = True, binary: bool = False) -> str:
    strategies = ["none", "lastPrediction", "nullPrediction", "defaultChild"]
    strategy = draw(st.sampled_from([*strategies, *(["weightedConfidence", "aggregateNodes"] if classes else [])]))
    last = draw(st.sampled_from(("returnNullPrediction", "returnLastPrediction")))
    root = draw(nodes("<True/>", classes, 3, binary))
    function = "classification" if classes else "regression"
    settings = {"functionName": function, "missingValueStrategy": strategy, "noTrueChildStrategy": last}
    return tag("TreeModel", [schema(target), root], **settings)


@st.composite
def ensembles(draw: Any, classes: bool) -> str:
    methods = ["average", "weightedAverage", "selectFirst"]
    methods += ["majorityVote", "weightedMajorityVote"] if classes else ["sum", "weightedSum", "median", "max"]
    segments = [
        tag(
            "Segment",
            [draw(st.one_of(st.just("<True/>"), predicates())), draw(trees(classes, target=False))],
            weight=draw(st.integers(1, 3)),
        )
        for _ in range(draw(st.integers(1, 4)))
    ]
    treatment = draw(st.sampled_from(("continue", "skipSegment", "returnMissing")))
    settings = {"multipleModelMethod": draw(st.sampled_from(methods)), "missingPredictionTreatment": treatment}
    segmentation = tag("Segmentation", segments, **settings)
    function = "classification" if classes else "regression"
    return tag("MiningModel", [schema(True), segmentation], functionName=function)


@st.composite
def tables(draw: st.DrawFn, /, **attributes: object) -> str:
    terms = []
    for field in draw(st.lists(st.sampled_from(NUMBERS), max_size=3)):
        exponent = draw(st.sampled_from((1, 2)))
        terms.append(tag("NumericPredictor", name=field, exponent=exponent, coefficient=draw(COEFFICIENTS)))
    terms += [
        tag("CategoricalPredictor", name="t0", value=word, coefficient=draw(COEFFICIENTS))
        for word in draw(st.sets(st.sampled_from(WORDS)))
    ]
    for fields in draw(st.lists(st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=2), max_size=1)):
        content = [tag("FieldRef", field=one) for one in fields]
        terms.append(tag("PredictorTerm", content, coefficient=draw(COEFFICIENTS)))
    return tag("RegressionTable", terms, intercept=draw(COEFFICIENTS), **attributes)


@st.composite
def regressions(draw: Any, classes: bool) -> str:
    if not classes:
        methods = ("none", "softmax", "logit", "probit", "cloglog", "exp", "loglog", "cauchit")
        content = [schema(True), draw(tables())]
        settings = {"functionName": "regression", "normalizationMethod": draw(st.sampled_from(methods))}
        return tag("RegressionModel", content, **settings)
    method = draw(st.sampled_from(("softmax", "none", "logit", "probit", "cloglog", "loglog", "cauchit")))
    labels = LABELS if method == "softmax" else LABELS[:2]
    found = [draw(tables(targetCategory=label)) for label in labels]
    if method != "softmax":
        found[1] = tag("RegressionTable", intercept=0, targetCategory=labels[1])
    settings = {"functionName": "classification", "normalizationMethod": method}
    return tag("RegressionModel", [schema(True), *found], **settings)


@st.composite
def scorecards(draw: Any) -> str:
    characteristics = [
        tag(
            "Characteristic",
            [
                tag("Attribute", draw(predicates()), partialScore=draw(st.integers(-20, 20)))
                for _ in range(draw(st.integers(1, 3)))
            ]
            + [tag("Attribute", "<True/>", partialScore=3)] * draw(st.integers(0, 1)),
        )
        for _ in range(draw(st.integers(1, 3)))
    ]
    content = [schema(True), tag("Characteristics", characteristics)]
    settings = {"functionName": "regression", "initialScore": draw(st.integers(-5, 5)), "useReasonCodes": "false"}
    return tag("Scorecard", content, **settings)


@st.composite
def general_regressions(draw: Any) -> str:
    """Parameters with several cells, and one without any, whose value is 1."""
    links = ("identity", "log", "logit", "probit", "cloglog", "loglog", "logc")
    parameters = [f"p{place}" for place in range(draw(st.integers(1, 4)))]
    cells = []
    for parameter in parameters[1:]:
        for field in draw(st.sets(st.sampled_from((*NUMBERS, "t0")), min_size=1, max_size=2)):
            value = draw(st.sampled_from(WORDS if field == "t0" else (1, 2)))
            cells.append(tag("PPCell", value=value, predictorName=field, parameterName=parameter))
    content = [
        schema(True),
        tag("ParameterList", [tag("Parameter", name=one) for one in parameters]),
        tag("FactorList", tag("Predictor", name="t0")),
        tag("CovariateList", [tag("Predictor", name=one) for one in NUMBERS]),
        tag("PPMatrix", cells),
        tag("ParamMatrix", [tag("PCell", parameterName=one, beta=draw(COEFFICIENTS) / 4) for one in parameters]),
    ]
    settings = {"functionName": "regression", "modelType": "generalizedLinear"}
    return tag("GeneralRegressionModel", content, linkFunction=draw(st.sampled_from(links)), **settings)


def document(model: str, classes: bool) -> bytes:
    fields = [tag("DataField", name=one, optype="continuous", dataType="double") for one in NUMBERS]
    fields += [tag("DataField", name=one, optype="categorical", dataType="string") for one in TEXTS]
    if classes:
        values = [tag("Value", value=label) for label in LABELS]
        fields.append(tag("DataField", values, name="y", optype="categorical", dataType="string"))
    else:
        fields.append(tag("DataField", name="y", optype="continuous", dataType="double"))
    return (HEAD + tag("DataDictionary", fields) + model + "</PMML>").encode()
