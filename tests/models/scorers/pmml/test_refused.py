"""Anything that is not supported is rejected when the file is read, with the line and the element."""

from __future__ import annotations

import pytest

from models.errors import ModelLoadError
from models.scorers.pmml.document import read_document
from tests.models.scorers.pmml.exported import HEAD

FIELDS = """<DataDictionary>
<DataField name="x" optype="continuous" dataType="double"/>
<DataField name="i" optype="continuous" dataType="integer"/>
<DataField name="d" optype="continuous" dataType="date"/>
<DataField name="t" optype="categorical" dataType="string"/>
<DataField name="y" optype="continuous" dataType="double"/>
</DataDictionary>"""
SCHEMA = '<MiningSchema><MiningField name="x"/><MiningField name="i"/><MiningField name="t"/></MiningSchema>'
TABLE = '<RegressionTable intercept="1"><NumericPredictor name="x" coefficient="2"/></RegressionTable>'


def regression(inner: str = TABLE, schema: str = SCHEMA, settings: str = 'functionName="regression"') -> str:
    return f"<RegressionModel {settings}>{schema}{inner}</RegressionModel>"


def derived(expression: str, data_type: str = "double") -> str:
    field = f'<DerivedField name="z" optype="continuous" dataType="{data_type}">{expression}</DerivedField>'
    return regression(f"<LocalTransformations>{field}</LocalTransformations>{TABLE}")


def node(inner: str, settings: str = "") -> str:
    return f'<TreeModel functionName="regression" {settings}>{SCHEMA}{inner}</TreeModel>'


REFUSED = {
    "another model": ("<AssociationModel/>", "AssociationModel: it is not supported in PMML"),
    "function": (derived('<Apply function="formatNumber"><FieldRef field="x"/></Apply>'), "'formatNumber'"),
    "attribute": (regression(settings='functionName="regression" x-mathContext="float"'), "'x-mathContext'"),
    "function name": (regression(settings='functionName="sequences"'), "functionName='sequences'"),
    "method": (regression(settings='functionName="regression" normalizationMethod="odd"'), "normalizationMethod='odd'"),
    "not scorable": (regression(settings='functionName="regression" isScorable="false"'), "isScorable"),
    "unknown field": (derived('<FieldRef field="w"/>'), "field 'w' is not defined"),
    "field outside": (derived('<FieldRef field="y"/>'), "field 'y' is not defined"),
    "date": (regression(schema='<MiningSchema><MiningField name="d"/></MiningSchema>'), "'date'"),
    "text as number": (
        regression('<RegressionTable intercept="0"><NumericPredictor name="t" coefficient="2"/></RegressionTable>'),
        "field 't' holds texts",
    ),
    "quotient": (derived('<Apply function="/"><FieldRef field="i"/><Constant>2</Constant></Apply>'), "two integers"),
    "types": (derived('<Apply function="+"><FieldRef field="x"/><FieldRef field="t"/></Apply>'), "double, string"),
    "cast": (derived('<FieldRef field="t"/>'), "'double' is not supported for values of type 'string'"),
    "arguments": (derived('<Apply function="ln"/>'), "does not take 0 arguments"),
    "treatment": (
        regression(schema='<MiningSchema><MiningField name="x" invalidValueTreatment="odd"/></MiningSchema>'),
        "invalidValueTreatment='odd'",
    ),
    "no inputs": (regression('<RegressionTable intercept="1"/>', schema="<MiningSchema/>"), "no active fields"),
    "not a number": (regression('<RegressionTable intercept="one"/>'), "'one' is not a finite number"),
    "strategy": (node('<Node score="1"><True/></Node>', 'missingValueStrategy="odd"'), "missingValueStrategy='odd'"),
    "leaf": (node("<Node><True/></Node>"), "a leaf lacks its score"),
    "operator": (
        node('<Node score="1"><SimplePredicate field="x" operator="near" value="1"/></Node>'),
        "operator='near'",
    ),
    "order of texts": (
        node('<Node score="1"><SimplePredicate field="t" operator="lessThan" value="b"/></Node>'),
        "not supported for texts",
    ),
    "embedded model": (node('<Node score="1"><True/><Regression/></Node>'), "Regression: it is not supported in Node"),
    "two models": (regression() + regression(), "2 models"),
    "output": (
        regression(f'<Output><OutputField name="o" feature="residual"/></Output>{TABLE}'),
        "feature='residual'",
    ),
    "no probabilities": (
        regression(f'<Output><OutputField name="o" feature="probability"/></Output>{TABLE}'),
        "no probabilities",
    ),
    "target value": (
        regression(f'<Targets><Target field="y"><TargetValue defaultValue="2"/></Target></Targets>{TABLE}'),
        "'defaultValue'",
    ),
    "defined function": (
        '<TransformationDictionary><DefineFunction name="f"/></TransformationDictionary>' + regression(),
        "DefineFunction: it is not supported",
    ),
    "table outside": (
        derived(
            '<MapValues outputColumn="o"><FieldColumnPair field="t" column="c"/><TableLocator/></MapValues>', "string"
        ),
        "TableLocator: it is not supported",
    ),
    "cox": (
        '<GeneralRegressionModel functionName="regression" modelType="CoxRegression">'
        f"{SCHEMA}</GeneralRegressionModel>",
        "modelType='CoxRegression'",
    ),
    "median of classes": (
        f'<MiningModel functionName="classification">{SCHEMA}<Segmentation multipleModelMethod="median"><Segment>'
        f'<True/><TreeModel functionName="classification">{SCHEMA}<Node score="a"><True/></Node></TreeModel></Segment>'
        "</Segmentation></MiningModel>",
        "'median' is not supported for functionName 'classification'",
    ),
    "logit of three classes": (
        regression(
            "".join(f'<RegressionTable intercept="0" targetCategory="{label}"/>' for label in "abc"),
            settings='functionName="classification" normalizationMethod="logit"',
        ),
        "two classes",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused_by_name(kind: str) -> None:
    model, reason = REFUSED[kind]
    with pytest.raises(ModelLoadError, match=reason) as raised:
        read_document(f"{HEAD}{FIELDS}{model}</PMML>".encode())
    assert str(raised.value).startswith("line ")


def test_what_these_tests_vary_is_accepted() -> None:
    for model in (regression(), derived('<FieldRef field="x"/>'), node('<Node score="1"><True/></Node>')):
        read_document(f"{HEAD}{FIELDS}{model}</PMML>".encode())
