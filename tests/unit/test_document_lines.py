"""Documents given as JSON Lines: what is taken, what is kept, and how a wrong line is named."""

from __future__ import annotations

import hashlib
import re
import zlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aieye.errors import PayloadTooLarge
from aieye.presets import document_lines
from aieye.presets.document_lines import DocumentLines, InvalidDocuments, PackedDocuments
from aieye.presets.documents import Documents, some_of, unpacked

TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30
).filter(str.strip)


def read(file: bytes, *cuts: int) -> PackedDocuments:
    """A file in pieces that end at `cuts`."""
    reading = DocumentLines()
    for start, end in zip((0, *sorted(cuts)), (*sorted(cuts), len(file)), strict=True):
        reading.feed(file[start:end])
    return reading.end()


def texts_of(packed: PackedDocuments) -> list[str]:
    documents = Documents(unpacked(packed.lines))
    return list(documents.texts(range(len(documents))).values())


@given(st.lists(TEXTS, min_size=1), st.lists(st.integers(0, 200), max_size=5), st.data())
def test_texts_come_back_however_they_are_written_and_cut(
    texts: list[str], cuts: list[int], data: st.DataObject
) -> None:
    lines = []
    for text in texts:
        value = data.draw(st.sampled_from([text, {"text": text, "id": 7}]))
        lines.append(orjson.dumps(value) + data.draw(st.sampled_from([b"\n", b"\r\n"])))
    file = data.draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + b"".join(lines)
    file = data.draw(st.sampled_from([file, file.rstrip(b"\r\n"), file + b"\n\n"]))
    packed = read(file, *(min(cut, len(file)) for cut in cuts))
    assert texts_of(packed) == texts
    kept = b"\n".join(map(orjson.dumps, texts))
    assert zlib.decompress(packed.lines) == kept
    assert (packed.id, packed.count, packed.size_bytes) == (
        hashlib.sha256(kept).hexdigest(), len(texts), len(kept),
    )  # fmt: skip


def test_many_documents_are_unpacked_in_parts() -> None:
    texts = [f"{number} " * (number % 97 + 1) for number in range(9_000)]
    documents = Documents(unpacked(read(b"\n".join(map(orjson.dumps, texts))).lines))
    assert len(documents.parts) > 3
    assert len(documents) == 9_000
    assert documents.texts([8_999, 0, 4_000]) == {n: texts[n] for n in (8_999, 0, 4_000)}


@pytest.mark.parametrize(
    "file, says",
    [
        (b"", "There is no document"),
        (b"\n\n", "There is no document"),
        (b'"a"\n{"text": 7}\n', "Line 2 is no document: it should be a JSON string"),
        (b'"a"\n{"body": "b"}', "Line 2 is no document: it should be a JSON string"),
        (b'"a"\n7\n"b"', "Line 2 is no document"),
        (b'"a"\n"b"\nplain text\n', "Line 3 is not JSON"),
        (b'"a"\n\n"b"', "Line 2 is empty"),
        (b'"a"\n""\n', "Line 2 is no document: it is empty"),
        (b'"a\\u0000"', "Line 1 is no document: it holds a character that cannot be stored"),
        (b'"\\ud800"', "Line 1 is not JSON"),
        (b'"\xff"', "Line 1 is not JSON"),
        (b'"' + b"a" * 100_001 + b'"', "Line 1 is no document: it has more than 100,000"),
        (b'"a"\n' + b"a" * 900_000, "Line 2 is longer than 800,000 bytes"),
    ],
)
def test_a_line_that_is_no_document_is_named(file: bytes, says: str) -> None:
    with pytest.raises(InvalidDocuments, match=re.escape(says)):
        read(file)


def test_more_documents_or_bytes_than_are_taken_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(document_lines, "MOST_DOCUMENTS", 2)
    with pytest.raises(InvalidDocuments, match="Line 3 is one too many"):
        read(b'"a"\n"b"\n"c"')
    monkeypatch.setattr(document_lines, "MOST_BYTES", 6)
    with pytest.raises(PayloadTooLarge, match="more than 6 bytes"):
        read(b'"a"\n"b"')


def test_of_a_plain_text_each_line_is_a_document() -> None:
    reading = DocumentLines(is_plain=True)
    reading.feed('\ufeffEin "Hai"\r\n{"text": 1}\n'.encode())
    packed = reading.end()
    assert zlib.decompress(packed.lines) == b'"Ein \\"Hai\\""\n"{\\"text\\": 1}"'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a\n\nb\n", "Line 2 is empty"),
        (b"a\n\xff\n", "Line 2 is not UTF-8 text"),
        (b"a\nb\0\n", "Line 2 is no document"),
    ],
)
def test_a_wrong_line_of_a_plain_text_is_named(content: bytes, said: str) -> None:
    with pytest.raises(InvalidDocuments, match=said):
        DocumentLines(is_plain=True).feed(content)


@pytest.mark.parametrize(("start", "count"), [(0, 3), (999, 50), (1990, 50), (2000, 5), (0, 2000)])
def test_some_documents_are_read_without_the_others(start: int, count: int) -> None:
    # In several parts, which end in other places than what is asked for.
    texts = [f"{number} {'x' * (number % 1_500)}" for number in range(2_000)]
    packed = read(b"\n".join(map(orjson.dumps, texts)))
    assert some_of(packed.lines, start, count) == texts[start : start + count]
