from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import SchemaError
from models.records.record_type import RecordType
from models.schemas import BUNDLED_RECORDS, bundled_schema
from tests.models.fakes import schema_of


def test_bundled_schemas_have_a_name(tmp_path: Path) -> None:
    for name in BUNDLED_RECORDS:
        assert RecordType.named(name).declared == bundled_schema(name)
        assert RecordType.named(name).name == name


def test_a_schema_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "own.avsc"
    file.write_text(schema_of(x="float", tags={"type": "array", "items": "string"}).text)
    schema = RecordType.named(str(file), "json")
    assert (schema.name, schema.format) == ("Test", "json")
    assert schema.codec.fields.names == ["x", "tags"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        '"string"',
        '{"type": "array", "items": "long"}',
        '{"type": "record", "name": "A"}',
        '{"type": "record", "name": "A", "fields": [{"name": "x"}]}',
        '{"type": "record", "name": "A", "fields": [{"name": "x", "type": "strnig"}]}',
        '{"type": "record", "name": "A", "fields": 5}',
        '{"type": "record", "fields": []}',
    ],
)
def test_a_file_that_is_no_record_schema_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "own.avsc").write_text(text)
    with pytest.raises(SchemaError, match=r"own\.avsc"):
        RecordType.named(str(tmp_path / "own.avsc"))


def test_a_file_that_is_not_there_is_refused_with_the_bundled_names(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="recommender, transaction, wine"):
        RecordType.named(str(tmp_path / "nothing.avsc"))
