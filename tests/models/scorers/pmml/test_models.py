"""Examples based on the text of the standard, and others, with results calculated by hand."""

from __future__ import annotations

import math

import numpy as np

from tests.models.scorers.pmml.evaluation import scored
from tests.models.scorers.pmml.exported import HEAD, tag

NAN = np.nan


def field(name: str, *values: object, text: bool = False, optype: str = "") -> str:
    kind = optype or ("categorical" if text or values else "continuous")
    return tag(
        "DataField",
        [tag("Value", value=value) for value in values],
        name=name,
        optype=kind,
        dataType="string" if text else "double",
    )


def document(fields: str, model: str) -> bytes:
    return f"{HEAD}<DataDictionary>{fields}</DataDictionary>{model}</PMML>".encode()


def schema(*names: str, target: str = "") -> str:
    fields = [tag("MiningField", name=name) for name in names]
    return tag("MiningSchema", [*fields, *([tag("MiningField", name=target, usageType="target")] if target else [])])


def simple(name: str, operator: str, value: object) -> str:
    return tag("SimplePredicate", field=name, operator=operator, value=value)


def compound(operator: str, *parts: str) -> str:
    return tag("CompoundPredicate", parts, booleanOperator=operator)


def node(score: str, predicate: str, *inner: str) -> str:
    return tag("Node", [predicate, *inner], score=score)


GOLF = tag(
    "TreeModel",
    [
        schema("temperature", "humidity", "windy", "outlook", target="whatIdo"),
        node(
            "will play",
            "<True/>",
            node(
                "will play",
                simple("outlook", "equal", "sunny"),
                node(
                    "will play",
                    compound("and", simple("temperature", "lessThan", 90), simple("temperature", "greaterThan", 50)),
                    node("will play", simple("humidity", "lessThan", 80)),
                    node("no play", simple("humidity", "greaterOrEqual", 80)),
                ),
                node(
                    "no play",
                    compound(
                        "or", simple("temperature", "greaterOrEqual", 90), simple("temperature", "lessOrEqual", 50)
                    ),
                ),
            ),
            node(
                "may play",
                compound("or", simple("outlook", "equal", "overcast"), simple("outlook", "equal", "rain")),
                node(
                    "may play",
                    compound(
                        "and",
                        simple("temperature", "greaterThan", 60),
                        simple("temperature", "lessThan", 100),
                        simple("outlook", "equal", "overcast"),
                        simple("humidity", "lessThan", 70),
                        simple("windy", "equal", "false"),
                    ),
                ),
                node(
                    "no play", compound("and", simple("outlook", "equal", "rain"), simple("humidity", "lessThan", 70))
                ),
            ),
        ),
    ],
    functionName="classification",
)


def test_golf() -> None:
    fields = (
        field("temperature")
        + field("humidity")
        + field("windy", "true", "false", text=True)
        + field("outlook", "sunny", "overcast", "rain", text=True)
        + field("whatIdo", "will play", "may play", "no play", text=True)
    )
    outputs = scored(
        document(fields, GOLF),
        {
            "temperature": [75, 75, 95, 75, 75, None],
            "humidity": [55, 85, 55, 60, 75, 55],
            "windy": ["false"] * 6,
            "outlook": ["overcast", "sunny", "sunny", "rain", "rain", "sunny"],
        },
    )
    assert outputs == {"whatIdo": ["may play", "no play", "no play", "no play", None, None]}


def test_car_insurance() -> None:
    terms = [
        tag("NumericPredictor", name="age", exponent=1, coefficient=7.1),
        tag("NumericPredictor", name="salary", exponent=1, coefficient=0.01),
        tag("CategoricalPredictor", name="car_location", value="carpark", coefficient=41.1),
        tag("CategoricalPredictor", name="car_location", value="street", coefficient=325.03),
    ]
    content = [
        schema("age", "salary", "car_location", target="claims"),
        tag("RegressionTable", terms, intercept=132.37),
    ]
    fields = field("age") + field("salary") + field("car_location", "carpark", "street", text=True) + field("claims")
    found = scored(
        document(fields, tag("RegressionModel", content, functionName="regression")),
        {"age": [30, 30, None], "salary": [1000.0] * 3, "car_location": ["street", None, "street"]},
    )
    np.testing.assert_allclose(found["claims"], [132.37 + 213 + 10 + 325.03, 132.37 + 213 + 10, NAN])


def attribute(score: int, predicate: str) -> str:
    return tag("Attribute", predicate, partialScore=score)


def missing(name: str) -> str:
    return tag("SimplePredicate", field=name, operator="isMissing")


def between(name: str, low: int, high: int) -> str:
    return compound("and", simple(name, "greaterThan", low), simple(name, "lessOrEqual", high))


def test_a_scorecard_gives_its_reasons() -> None:
    department = [attribute(-9, missing("department"))]
    scores = {"marketing": 19, "engineering": 3, "business": 6}
    department += [attribute(score, simple("department", "equal", name)) for name, score in scores.items()]
    age = [
        attribute(-1, missing("age")),
        attribute(-3, simple("age", "lessOrEqual", 18)),
        attribute(0, between("age", 18, 29)),
        attribute(12, between("age", 29, 39)),
        attribute(18, simple("age", "greaterThan", 39)),
    ]
    income = [
        attribute(5, missing("income")),
        attribute(26, simple("income", "lessOrEqual", 1000)),
        attribute(5, between("income", 1000, 1500)),
        attribute(-3, simple("income", "greaterThan", 1500)),
    ]
    characteristics = [
        tag("Characteristic", content, name=name, reasonCode=code, baselineScore=baseline)
        for name, code, baseline, content in (
            ("department", "RC1", 19, department),
            ("age", "RC2", 18, age),
            ("income", "RC3", 10, income),
        )
    ]
    output = [tag("OutputField", name="score", feature="predictedValue", dataType="double")]
    output += [tag("OutputField", name=f"code{rank}", feature="reasonCode", rank=rank) for rank in (1, 2, 3)]
    model = tag(
        "Scorecard",
        [schema("department", "age", "income"), tag("Output", output), tag("Characteristics", characteristics)],
        functionName="regression",
        initialScore=0,
        useReasonCodes="true",
        reasonCodeAlgorithm="pointsBelow",
    )
    found = scored(
        document(field("department", text=True) + field("age") + field("income"), model),
        {"department": ["engineering", None, "sales"], "age": [25, 50, 25], "income": [500, 2000, 500]},
    )
    np.testing.assert_array_equal(found["score"], [29, 6, NAN])
    assert found["code1"] == ["RC2", "RC1", None]
    assert found["code2"] == ["RC1", "RC3", None]
    assert found["code3"] == ["RC3", "RC2", None]


def test_naive_bayes_with_counts_leaves_out_what_is_missing_or_unknown() -> None:
    def counts(name: str, **found: int) -> str:
        return tag(name, [tag("TargetValueCount", value=label, count=count) for label, count in found.items()])

    pairs = [
        tag("PairCounts", counts("TargetValueCounts", yes=3, no=1), value="f"),
        tag("PairCounts", counts("TargetValueCounts", yes=1, no=0), value="m"),
    ]
    model = tag(
        "NaiveBayesModel",
        [
            schema("sex", target="y"),
            tag("BayesInputs", tag("BayesInput", pairs, fieldName="sex")),
            tag("BayesOutput", counts("TargetValueCounts", yes=4, no=6), fieldName="y"),
        ],
        functionName="classification",
        threshold=0.001,
    )
    found = scored(
        document(field("sex", text=True) + field("y", "yes", "no", text=True), model), {"sex": ["f", "m", None, "x"]}
    )
    first, second = 4 * 0.75 / (4 * 0.75 + 6 * 1), 4 * 0.25 / (4 * 0.25 + 6 * 0.001)
    np.testing.assert_allclose(found["probability_yes"], [first, second, 0.4, 0.4])
    assert found["y"] == ["no", "yes", "no", "no"]


def clusters(measure: str, **settings: object) -> bytes:
    content = [
        schema("u", "v"),
        '<Output><OutputField name="id" feature="predictedValue"/>'
        '<OutputField name="far" feature="affinity"/></Output>',
        tag("ComparisonMeasure", measure, kind="distance", **settings),
        tag("ClusteringField", field="u"),
        tag("ClusteringField", field="v"),
        tag("MissingValueWeights", '<Array n="2" type="real">1 3</Array>'),
        tag("Cluster", '<Array n="2" type="real">0 0</Array>', id="near"),
        tag("Cluster", '<Array n="2" type="real">6 8</Array>', id="far"),
    ]
    model = tag("ClusteringModel", content, functionName="clustering", modelClass="centerBased", numberOfClusters=2)
    return document(field("u") + field("v"), model)


def test_distances_are_adjusted_for_missing_values() -> None:
    rows = {"u": [3, 6, None, None], "v": [1, None, 8, None]}
    for measure, expected in {
        "<euclidean/>": [math.sqrt(10), 0, 0, NAN],
        "<squaredEuclidean/>": [10, 0, 0, NAN],
        "<chebychev/>": [3, 0, 0, NAN],
        "<cityBlock/>": [4, 0, 0, NAN],
        '<minkowski p-parameter="3"/>': [28 ** (1 / 3), 0, 0, NAN],
    }.items():
        found = scored(clusters(measure), rows)
        np.testing.assert_allclose(found["far"], expected)
        assert found["id"] == ["near", "far", "far", None]
    found = scored(clusters("<squaredEuclidean/>"), {"u": [1, None], "v": [None, 1]})
    np.testing.assert_allclose(found["far"], [1 * 4 / 1, 1 * 4 / 3])


def general(settings: str, cells: str, function: str = "classification") -> str:
    parts = (
        '<ParameterList><Parameter name="p0"/><Parameter name="p1"/></ParameterList><FactorList/>'
        '<CovariateList><Predictor name="x"/></CovariateList>'
        '<PPMatrix><PPCell value="1" predictorName="x" parameterName="p1"/></PPMatrix>'
        f"<ParamMatrix>{cells}</ParamMatrix>"
    )
    inner = schema("x", target="y") + parts
    return f'<GeneralRegressionModel functionName="{function}" {settings}>{inner}</GeneralRegressionModel>'


def cell(name: str, beta: float, label: str | None = None) -> str:
    return tag("PCell", parameterName=name, beta=beta, **({} if label is None else {"targetCategory": label}))


def test_general_regression_gives_classes() -> None:
    def shares(model: str, values: tuple[str, ...], optype: str = "") -> list[list[float]]:
        fields = field("x") + field("y", *values, text=True, optype=optype)
        found = scored(document(fields, model), {"x": [0.0, 2.0]})
        return [found[f"probability_{label}"].tolist() for label in values]

    cells = cell("p0", 1, "a") + cell("p1", 0.5, "a") + cell("p0", -1, "b")
    powers = [[math.exp(1), math.exp(-1), 1], [math.exp(2), math.exp(-1), 1]]
    expected = [[row[place] / sum(row) for row in powers] for place in range(3)]
    np.testing.assert_allclose(shares(general('modelType="multinomialLogistic"', cells), ("a", "b", "c")), expected)

    cells = cell("p0", -1, "a") + cell("p0", 1, "b") + cell("p1", -0.5)
    ordinal = general('modelType="ordinalMultinomial" cumulativeLink="logit"', cells)
    sums = [[1 / (1 + math.exp(1)), 1 / (1 + math.exp(-1))], [1 / (1 + math.exp(2)), 1 / (1 + math.exp(0))]]
    expected = [[one for one, _ in sums], [two - one for one, two in sums], [1 - two for _, two in sums]]
    np.testing.assert_allclose(shares(ordinal, ("a", "b", "c"), "ordinal"), expected)

    binary = general('modelType="generalizedLinear" linkFunction="logit"', cell("p0", 1, "b") + cell("p1", -1, "b"))
    expected = [[1 - one for one in (1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1)))]]
    np.testing.assert_allclose(shares(binary, ("a", "b"))[0], expected[0])


def test_power_links() -> None:
    fields = field("x") + field("y")
    cells = cell("p0", 1) + cell("p1", 1)
    for link, expected in {
        'linkFunction="power" linkParameter="2"': [math.sqrt(5)],
        'linkFunction="power" linkParameter="0"': [math.exp(5)],
        'linkFunction="oddspower" linkParameter="1"': [1 / (1 + 1 / 6)],
        'linkFunction="negbin" distParameter="2"': [1 / (2 * (math.exp(-5) - 1))],
    }.items():
        model = general(f'modelType="generalizedLinear" {link}', cells, "regression")
        np.testing.assert_allclose(scored(document(fields, model), {"x": [4.0]})["y"], expected)


def sum_of(name: str, intercept: float, output: str = "", target: str = "") -> str:
    terms = tag("NumericPredictor", name=name, coefficient=1)
    content = [schema(name, target=target), output, tag("RegressionTable", terms, intercept=intercept)]
    return tag("RegressionModel", content, functionName="regression")


def mining(method: str, *segments: str, output: str = "") -> bytes:
    content = [schema("x", target="y"), output, tag("Segmentation", segments, multipleModelMethod=method)]
    return document(field("x") + field("y"), tag("MiningModel", content, functionName="regression"))


def test_a_chain_passes_its_outputs_on() -> None:
    output = '<Output><OutputField name="first" dataType="double" optype="continuous"/></Output>'
    content = mining(
        "modelChain",
        tag("Segment", ["<True/>", sum_of("x", 10, output)], id="a"),
        tag("Segment", [simple("first", "greaterThan", 11), sum_of("first", 100)], id="b"),
    )
    np.testing.assert_array_equal(scored(content, {"x": [1, 2, None]})["y"], [11, 112, NAN])


def test_outputs_of_all_segments_are_told_apart_by_their_ids() -> None:
    output = "".join(f'<OutputField name="of_{one}" segmentId="{one}"/>' for one in "ab")
    content = mining(
        "selectAll",
        tag("Segment", ["<True/>", sum_of("x", 10)], id="a"),
        tag("Segment", [simple("x", "greaterThan", 1), sum_of("x", 100)], id="b"),
        output=f"<Output>{output}</Output>",
    )
    found = scored(content, {"x": [1, 2]})
    np.testing.assert_array_equal(found["of_a"], [11, 12])
    np.testing.assert_array_equal(found["of_b"], [NAN, 102])


def test_a_network_maps_its_output_back_and_has_no_result_without_an_input() -> None:
    lines = '<LinearNorm orig="0" norm="0"/><LinearNorm orig="50" norm="1"/>'
    inner = f'<NormContinuous field="NAME">{lines}</NormContinuous>'
    norm = tag("DerivedField", inner, optype="continuous", dataType="double")
    content = [
        schema("x", target="y"),
        f'<NeuralInputs><NeuralInput id="0">{norm.replace("NAME", "x")}</NeuralInput></NeuralInputs>',
        '<NeuralLayer><Neuron id="1" bias="0.1"><Con from="0" weight="2"/></Neuron></NeuralLayer>',
        f'<NeuralOutputs><NeuralOutput outputNeuron="1">{norm.replace("NAME", "y")}</NeuralOutput></NeuralOutputs>',
    ]
    model = tag("NeuralNetwork", content, functionName="regression", activationFunction="tanh")
    found = scored(document(field("x") + field("y"), model), {"x": [10, None]})
    np.testing.assert_allclose(found["y"], [50 * math.tanh(0.5), NAN])
