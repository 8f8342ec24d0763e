"""The data dictionary and mining schemas: the valid values of a field, and the replacements for all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from models.scorers.pmml.columns import (
    BOOLEAN,
    DATA_TYPES,
    STRING,
    Bools,
    Column,
    Frame,
    Value,
    literal,
)
from models.scorers.pmml.elements import Element

ACTIVE = "active"
TARGETS = ("target", "predicted")


@dataclass(frozen=True)
class Interval:
    """The numbers between two margins, each of which is included or excluded."""

    low: float
    high: float
    closed_low: bool
    closed_high: bool

    def contains(self, values: np.ndarray) -> Bools:
        """Which values are in the interval: bool [rows]."""
        above = values >= self.low if self.closed_low else values > self.low
        return np.asarray(above & (values <= self.high if self.closed_high else values < self.high), bool)


def read_interval(element: Element) -> Interval:
    """Reads an Interval."""
    element.check("closure leftMargin rightMargin")
    closure = element.choice("closure", "openClosed openOpen closedOpen closedClosed")
    low, high = element.number("leftMargin", -np.inf), element.number("rightMargin", np.inf)
    return Interval(low, high, closure.startswith("closed"), closure.endswith("Closed"))


@dataclass(frozen=True)
class DataField:
    """A field of the data dictionary.

    Attributes:
      name: the name of the field.
      data_type: the data type, which is a supported one.
      optype: continuous, categorical or ordinal.
      valid: its only valid values, in their order; empty if all values are valid.
      invalid: values that are not valid.
      missing: values that stand for a missing one.
      intervals: the intervals of its valid values; empty if all numbers are valid.
    """

    name: str
    data_type: str
    optype: str
    valid: tuple[Value, ...] = ()
    invalid: tuple[Value, ...] = ()
    missing: tuple[Value, ...] = ()
    intervals: tuple[Interval, ...] = ()

    def invalid_rows(self, column: Column) -> Bools:
        """Which values are neither valid nor missing: bool [rows]."""
        rows = among(column, self.invalid)
        if self.valid:
            rows |= ~among(column, self.valid)
        if self.intervals:
            rows |= ~np.any([interval.contains(column.values) for interval in self.intervals], axis=0)
        return rows & ~column.missing()


def among(column: Column, values: tuple[Value, ...]) -> Bools:
    """Which rows have one of these values: bool [rows]."""
    if not values:
        return np.zeros(len(column.values), bool)
    if column.is_text:
        wanted = frozenset(values)
        return np.fromiter((value in wanted for value in column.values.tolist()), bool, len(column.values))
    return np.isin(column.values, np.array(values, np.float64))


def read_dictionary(element: Element) -> dict[str, DataField]:
    """Reads the DataDictionary."""
    element.check("numberOfFields", "DataField Taxonomy")
    fields = {}
    for child in element.all("DataField"):
        field = _read_field(child)
        if field.name in fields:
            child.refuse(f"field {field.name!r} is there twice")
        fields[field.name] = field
    return fields


def _read_field(element: Element) -> DataField:
    element.check("name displayName optype dataType isCyclic", "Interval Value")
    name, data_type = element.need("name"), element.need("dataType")
    optype = element.choice("optype", "continuous categorical ordinal")
    element.choice("isCyclic", "0", "0")
    if data_type not in DATA_TYPES.split():  # rejected only if a model uses it
        return DataField(name, data_type, optype)
    values: dict[str, list[Value]] = {"valid": [], "invalid": [], "missing": []}
    for child in element.all("Value"):
        child.check("value displayValue property")
        place = child.choice("property", "valid invalid missing", "valid")
        values[place].append(literal(child.need("value"), data_type, child))
    valid = tuple(values["valid"])
    intervals = tuple(read_interval(child) for child in element.all("Interval"))
    if optype == "continuous" and valid:
        element.refuse("a continuous field may list values that are invalid or missing, but none that are valid")
    if intervals and (optype != "continuous" or data_type in (STRING, BOOLEAN)):
        element.refuse("intervals are supported for continuous numbers only")
    return DataField(name, data_type, optype, valid, tuple(values["invalid"]), tuple(values["missing"]), intervals)


@dataclass(frozen=True)
class MiningField:
    """How a model treats the values of a field before it uses them."""

    name: str
    field: DataField
    replacement: Value | None
    missing_is_invalid: bool
    invalid_treatment: str
    invalid_replacement: Value | None
    outliers: str
    low: float
    high: float

    @cached_property
    def plain(self) -> bool:
        """Whether the model uses all values unchanged."""
        field = self.field
        limited = field.valid or field.invalid or field.missing or field.intervals or self.outliers != "asIs"
        return not limited and self.replacement is None and not self.missing_is_invalid

    def treated(self, column: Column, frame: Frame) -> Column:
        """The values as the model uses them; rejects the rows for which the model must not have a result."""
        if self.plain:
            return column
        values = column.values.copy()
        nothing = None if column.is_text else np.nan
        if self.field.missing:
            values[among(column, self.field.missing)] = nothing
        invalid = self.field.invalid_rows(Column(values))
        if self.invalid_treatment == "returnInvalid":
            frame.reject(invalid)
        elif self.invalid_treatment == "asMissing":
            values[invalid] = nothing
        elif self.invalid_treatment == "asValue":
            values[invalid] = self.invalid_replacement
        if self.outliers == "asMissingValues":
            values[(values < self.low) | (values > self.high)] = nothing
        elif self.outliers == "asExtremeValues":
            values = np.clip(values, self.low, self.high)
        missing = Column(values).missing()
        if self.missing_is_invalid:
            frame.reject(missing)
        if self.replacement is not None:
            values[missing] = self.replacement
        return Column(values)


@dataclass(frozen=True)
class MiningSchema:
    """The fields that a model uses, and its target if it names one."""

    active: tuple[MiningField, ...]
    target: DataField | None

    def frame(self, parent: Frame) -> Frame:
        """The fields of the model, treated."""
        frame = Frame(parent.rows, {}, parent=parent)
        columns = {field.name: field.treated(parent.column(field.name), frame) for field in self.active}
        frame.add(columns)
        frame.reject(parent.invalid)
        return frame


_ATTRIBUTES = (
    "name usageType optype importance outliers lowValue highValue missingValueReplacement missingValueTreatment "
    "invalidValueTreatment invalidValueReplacement"
)


def read_mining_schema(
    element: Element, known: Mapping[str, DataField], targets: Mapping[str, DataField]
) -> MiningSchema:
    """Reads a MiningSchema.

    Args:
      element: the MiningSchema.
      known: the fields that the model may use.
      targets: the fields that may be its target.
    """
    element.check("", "MiningField")
    active: dict[str, MiningField] = {}
    found = []
    for child in element.children:
        child.check(_ATTRIBUTES)
        usage = child.choice(
            "usageType", "active predicted target supplementary group order frequencyWeight analysisWeight", ACTIVE
        )
        name = child.need("name")
        if usage in TARGETS:
            found.append(_target(child, targets))
        if usage == ACTIVE:
            if name in active:
                child.refuse(f"field {name!r} is there twice")
            active[name] = _read_mining_field(child, known)
    if len(found) > 1:
        element.refuse(f"it has {len(found)} targets; at most one is supported")
    return MiningSchema(tuple(active.values()), found[0] if found else None)


def _target(element: Element, known: Mapping[str, DataField]) -> DataField:
    name = element.need("name")
    found = known.get(name)
    if found is None:  # a segment of a chain may name its own target
        return DataField(name, "", element.get("optype") or "")
    return _supported(found, element)


def _supported(field: DataField, element: Element) -> DataField:
    if field.data_type not in DATA_TYPES.split():
        element.refuse(f"field {field.name!r} has dataType {field.data_type!r}; supported are {DATA_TYPES}")
    return field


def _read_mining_field(element: Element, known: Mapping[str, DataField]) -> MiningField:
    name = element.need("name")
    if name not in known:
        element.refuse(f"field {name!r} is not defined")
    field = _supported(known[name], element)

    def value(attribute: str) -> Value | None:
        text = element.get(attribute)
        return None if text is None else literal(text, field.data_type, element)

    outliers = element.choice("outliers", "asIs asMissingValues asExtremeValues", "asIs")
    if outliers != "asIs" and field.data_type == STRING:
        element.refuse("outliers are supported for numbers only")
    if outliers == "asExtremeValues":
        element.need("lowValue"), element.need("highValue")
    invalid = element.choice("invalidValueTreatment", "returnInvalid asIs asMissing asValue", "returnInvalid")
    missing = element.choice("missingValueTreatment", "asIs asMean asMode asMedian asValue returnInvalid", "asIs")
    if invalid == "asValue":
        element.need("invalidValueReplacement")
    if element.get("optype") not in (None, field.optype):
        element.refuse(f"its optype differs from that of field {name!r} ({field.optype})")
    return MiningField(
        name,
        field,
        value("missingValueReplacement"),
        missing == "returnInvalid",
        invalid,
        value("invalidValueReplacement"),
        outliers,
        element.number("lowValue", -np.inf),
        element.number("highValue", np.inf),
    )
