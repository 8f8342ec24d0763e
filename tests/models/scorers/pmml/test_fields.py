"""Treatment of values, derived fields, targets and outputs, with results calculated by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.models.scorers.pmml.evaluation import scored
from tests.models.scorers.pmml.exported import HEAD

NAN = np.nan


def document(mining: str, fields: str = "", transformations: str = "", after: str = "", uses: str = "x") -> bytes:
    """A regression whose prediction is the value of the field that it uses."""
    dictionary = fields or '<DataField name="x" optype="continuous" dataType="double"/>'
    return (
        f"{HEAD}<DataDictionary>{dictionary}</DataDictionary>{transformations}"
        f'<RegressionModel functionName="regression"><MiningSchema>{mining}</MiningSchema>{after}'
        f'<RegressionTable intercept="0"><NumericPredictor name="{uses}" coefficient="1"/></RegressionTable>'
        "</RegressionModel></PMML>"
    ).encode()


def numbers(content: bytes, **columns: Any) -> list[float]:
    found: list[float] = scored(content, columns)["prediction"].tolist()
    return found


def assert_numbers(found: list[float], expected: list[float]) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-12)


INTERVAL = (
    '<DataField name="x" optype="continuous" dataType="double">'
    '<Interval closure="closedOpen" leftMargin="0" rightMargin="10"/></DataField>'
)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("", [NAN, 0, 9, NAN, NAN]),
        ('invalidValueTreatment="asIs"', [-1, 0, 9, 10, NAN]),
        ('invalidValueTreatment="asMissing"', [NAN, 0, 9, NAN, NAN]),
        ('invalidValueTreatment="asMissing" missingValueReplacement="5"', [5, 0, 9, 5, 5]),
        ('invalidValueTreatment="asValue" invalidValueReplacement="7"', [7, 0, 9, 7, NAN]),
        ('missingValueReplacement="5"', [NAN, 0, 9, NAN, 5]),
        ('outliers="asExtremeValues" lowValue="2" highValue="8"', [NAN, 2, 8, NAN, NAN]),
        ('outliers="asMissingValues" lowValue="2" missingValueReplacement="5"', [NAN, 5, 9, NAN, 5]),
    ],
)
def test_values_are_treated(settings: str, expected: list[float]) -> None:
    content = document(f'<MiningField name="x" {settings}/>', INTERVAL)
    assert_numbers(numbers(content, x=[-1.0, 0.0, 9.0, 10.0, None]), expected)


def test_a_value_may_mean_a_missing_one() -> None:
    field = (
        '<DataField name="x" optype="categorical" dataType="double"><Value value="1"/><Value value="2"/>'
        '<Value value="-99" property="missing"/></DataField>'
    )
    content = document('<MiningField name="x" missingValueReplacement="2"/>', field)
    assert_numbers(numbers(content, x=[1.0, -99.0, 3.0]), [1, 2, NAN])


def apply(function: str, *arguments: str, settings: str = "") -> str:
    return f'<Apply function="{function}" {settings}>{"".join(arguments)}</Apply>'


X = '<FieldRef field="x"/>'


def constant(value: object) -> str:
    return f'<Constant dataType="double">{value}</Constant>'


LINES = '<LinearNorm orig="0" norm="0"/><LinearNorm orig="10" norm="1"/><LinearNorm orig="20" norm="3"/>'
BINS = (
    '<DiscretizeBin binValue="1"><Interval closure="openClosed" rightMargin="0"/></DiscretizeBin>'
    '<DiscretizeBin binValue="2"><Interval closure="openClosed" leftMargin="0" rightMargin="4"/></DiscretizeBin>'
)
SAFE_LN = apply("if", apply("greaterThan", X, constant(0)), apply("ln", X), constant(-7))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (apply("+", X, constant(1)), [0, 1, 5, 26, NAN]),
        (apply("+", X, constant(1), settings='mapMissingTo="9"'), [0, 1, 5, 26, 9]),
        (apply("+", X, constant(1), settings='defaultValue="8"'), [0, 1, 5, 26, 8]),
        (apply("sum", X, constant(1)), [0, 1, 5, 26, 1]),
        (apply("max", X, constant(1)), [1, 1, 4, 25, 1]),
        (apply("sqrt", X), [NAN, 0, 2, 5, NAN]),
        (apply("sqrt", X, settings='invalidValueTreatment="asMissing" defaultValue="3"'), [3, 0, 2, 5, 3]),
        (apply("/", constant(1), X), [-1, NAN, 0.25, 0.04, NAN]),
        (SAFE_LN, [-7, -7, np.log(4), np.log(25), NAN]),
        (apply("round", apply("/", X, constant(8))), [0, 0, 1, 3, NAN]),
        (apply("threshold", X, constant(3)), [0, 0, 1, 1, NAN]),
        (apply("pow", X, constant(2)), [1, 0, 16, 625, NAN]),
        (apply("modulo", X, constant(3)), [2, 0, 1, 1, NAN]),
        (f'<NormContinuous field="x">{LINES}</NormContinuous>', [-0.1, 0, 0.4, 4, NAN]),
        (f'<NormContinuous field="x" outliers="asExtremeValues">{LINES}</NormContinuous>', [0, 0, 0.4, 3, NAN]),
        (
            f'<NormContinuous field="x" outliers="asMissingValues" mapMissingTo="6">{LINES}</NormContinuous>',
            [6, 0, 0.4, 6, 6],
        ),
        ('<NormDiscrete field="x" value="4"/>', [0, 0, 1, 0, NAN]),
        (f'<Discretize field="x" defaultValue="3" mapMissingTo="4">{BINS}</Discretize>', [1, 1, 2, 3, 4]),
        (f'<Discretize field="x">{BINS}</Discretize>', [1, 1, 2, NAN, NAN]),
        ('<FieldRef field="x" mapMissingTo="5"/>', [-1, 0, 4, 25, 5]),
    ],
)
def test_fields_are_derived(expression: str, expected: list[float]) -> None:
    field = f'<DerivedField name="z" optype="continuous" dataType="double">{expression}</DerivedField>'
    for transformations, local in (
        (f"<TransformationDictionary>{field}</TransformationDictionary>", ""),
        ("", f"<LocalTransformations>{field}</LocalTransformations>"),
    ):
        content = document('<MiningField name="x"/>', "", transformations, local, "z")
        assert_numbers(numbers(content, x=[-1.0, 0.0, 4.0, 25.0, None]), expected)


def test_texts_are_mapped_by_tables_and_functions() -> None:
    table = (
        '<MapValues outputColumn="o" defaultValue="0" mapMissingTo="-1"><FieldColumnPair field="u" column="c"/>'
        '<FieldColumnPair field="x" column="n"/><InlineTable><row><c>AB</c><n>1</n><o>5</o></row>'
        "<row><c>AB</c><n>2</n><o>6</o></row></InlineTable></MapValues>"
    )
    upper = apply("uppercase", apply("concat", '<FieldRef field="t"/>', "<Constant>b</Constant>"))
    transformations = (
        '<TransformationDictionary><DerivedField name="u" optype="categorical" dataType="string">'
        f'{upper}</DerivedField><DerivedField name="z" optype="continuous" dataType="double">{table}</DerivedField>'
        "</TransformationDictionary>"
    )
    fields = (
        '<DataField name="x" optype="continuous" dataType="integer"/>'
        '<DataField name="t" optype="categorical" dataType="string"/>'
    )
    content = document('<MiningField name="x"/><MiningField name="t"/>', fields, transformations, "", "z")
    found = numbers(content, x=[1, 2, 3, 1, None], t=["a", "a", "a", None, "a"])
    assert_numbers(found, [5, 6, 0, -1, -1])


def test_thresholds_of_floats_are_floats() -> None:
    fields = '<DataField name="x" optype="continuous" dataType="float"/>'
    content = (
        f'{HEAD}<DataDictionary>{fields}</DataDictionary><TreeModel functionName="regression"><MiningSchema>'
        '<MiningField name="x"/></MiningSchema><Node score="0"><True/><Node score="1"><SimplePredicate field="x" '
        'operator="lessOrEqual" value="0.1"/></Node><Node score="2"><True/></Node></Node></TreeModel></PMML>'
    ).encode()
    # 0.1 as a float is above 0.1, so it would go the other way if it were compared with a double.
    assert_numbers(numbers(content, x=[np.float32(0.1), np.nextafter(np.float32(0.1), np.float32(1))]), [1, 2])


def test_targets_limit_scale_and_round_in_this_order() -> None:
    target = '<Targets><Target min="0" max="10" rescaleFactor="2" rescaleConstant="0.5" castInteger="round"/></Targets>'
    content = document('<MiningField name="x"/>', after=target)
    assert_numbers(numbers(content, x=[-5.0, 1.0, 1.5, 20.0, None]), [1, 3, 4, 21, NAN])


def test_outputs_refer_to_earlier_ones() -> None:
    high = apply("greaterThan", '<FieldRef field="raw"/>', constant(2))
    word = apply("if", '<FieldRef field="high"/>', "<Constant>yes</Constant>", "<Constant>no</Constant>")
    output = (
        '<Output><OutputField name="raw" dataType="float" feature="predictedValue" isFinalResult="false"/>'
        '<OutputField name="high" dataType="boolean" feature="transformedValue">'
        f"{high}</OutputField>"
        '<OutputField name="word" dataType="string" feature="decision">'
        f"{word}"
        "</OutputField></Output>"
    )
    outputs = scored(document('<MiningField name="x"/>', after=output), {"x": [1.0, 3.0, None]})
    assert outputs.keys() == {"high", "word"}
    np.testing.assert_array_equal(outputs["high"], [0, 1, NAN])
    assert outputs["word"] == ["no", "yes", None]
