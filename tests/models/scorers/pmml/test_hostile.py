"""Files that are not models, or are malicious, are rejected with a reason."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from models.errors import ModelLoadError
from models.scorers.pmml import elements
from models.scorers.pmml.document import read_document
from tests.models.scorers.pmml.exported import HEAD

LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol">'
    + "".join(f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in zip("abcdefgh", "bcdefghi", strict=True))
    + ']><PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4">&i;</PMML>'
)
OUTSIDE = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/hostname">]><PMML version="4.4">&f;</PMML>'
DEEP = HEAD + "<DataDictionary>" * 100_000
DEEP_EXTENSION = HEAD + "<Extension>" * 100_000
FILES = {
    "laughs": (LAUGHS, "DOCTYPE"),
    "outside": (OUTSIDE, "DOCTYPE"),
    "deep": (DEEP, "200 levels"),
    "deep extension": (DEEP_EXTENSION, "200 levels"),
    "unclosed": (HEAD, "cut off"),
    "html": ("<html/>", "html is in no namespace"),
    "PMML 3": ('<PMML xmlns="http://www.dmg.org/PMML-3_2" version="3.2"/>', "PMML 4 is expected"),
    "another root": ('<TreeModel xmlns="http://www.dmg.org/PMML-4_4"/>', "line 1, TreeModel: the root must be PMML"),
    "future": ('<PMML xmlns="http://www.dmg.org/PMML-4_5" version="4.5"/>', "version='4.5'"),
    "empty": ("", "not XML"),
    "no model": (HEAD + "<DataDictionary/></PMML>", "0 models"),
    "twice": ('<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4" version="4.4"/>', "duplicate"),
    "encoding": ('<?xml version="1.0" encoding="nonsense"?><PMML/>', "not XML"),
}


@pytest.mark.parametrize("kind", FILES)
def test_it_is_refused(kind: str) -> None:
    text, reason = FILES[kind]
    with pytest.raises(ModelLoadError, match=reason) as raised:
        read_document(text.encode())
    assert "\n" not in str(raised.value)


def test_a_huge_file_is_not_parsed() -> None:
    with patch.object(elements, "MOST_BYTES", 10), pytest.raises(ModelLoadError, match="the limit is 10"):
        read_document(b"<" * 11)


def test_a_file_of_too_many_elements_is_refused() -> None:
    content = (HEAD + "<DataDictionary/>" * 100).encode()
    with patch.object(elements, "MOST_ELEMENTS", 50), pytest.raises(ModelLoadError, match="50 elements"):
        read_document(content)
