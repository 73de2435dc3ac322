"""Forms: the model is found as every provider would find it, or the form is refused."""

from __future__ import annotations

import httpx
import pytest

from aieye.gateway.multipart import UnreadableForm, find_model, replace_model

KIND = b"multipart/form-data; boundary=b"
FILE = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a\\"b"\r\n\r\n\x00\r\n\xff\r\n'
)
END = b"--b--\r\n"


def part(head: bytes, value: bytes = b"cheap") -> bytes:
    return b"--b\r\n" + head + b"\r\n\r\n" + value + b"\r\n"


MODEL = part(b'Content-Disposition: form-data; name="model"')


@pytest.mark.parametrize(
    "head",
    [
        b'Content-Disposition: form-data; name="model"',
        b"content-disposition:form-data;name=model",
        b'Content-Type: text/plain\r\nContent-Disposition: form-data; name="model"; x=y',
        b'Content-Disposition: form-data; name="mod\\el"',
    ],
)
def test_the_model_is_found_however_its_part_is_written(head: bytes) -> None:
    body = FILE + part(head) + END

    place = find_model(KIND, body)

    assert place is not None
    assert place.model == "cheap"
    assert replace_model(body, place, "other") == body.replace(b"cheap", b"other")


@pytest.mark.parametrize(
    "kind",
    [
        b'multipart/form-data; boundary="b"',
        b"Multipart/Form-Data;charset=utf-8;BOUNDARY=b;",
        b'multipart/form-data; x="; boundary=c"; boundary=b',
    ],
)
def test_the_boundary_is_read_as_a_parameter(kind: bytes) -> None:
    place = find_model(kind, MODEL + END)

    assert place is not None
    assert place.model == "cheap"


@pytest.mark.parametrize("kind", [b"application/json", b"application/x-www-form-urlencoded", b""])
def test_other_bodies_name_no_model(kind: bytes) -> None:
    assert find_model(kind, b"model=dear") is None


def test_a_form_without_a_model_has_none() -> None:
    assert find_model(KIND, FILE + END) is None


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (KIND, MODEL + MODEL + END),
        (KIND, MODEL + END + MODEL + END),
        (KIND, MODEL + part(b'Content-Disposition: form-data; name="model"; filename="f"') + END),
        (KIND, MODEL + part(b"Content-Disposition: form-data; name*=utf-8''model") + END),
        (KIND, MODEL + part(b'Content-Disposition: form-data; name="x"; name="model"') + END),
        (KIND, MODEL + part(b'X-Content-Disposition: form-data; name="model"') + END),
        (KIND, MODEL + part(b'Content-Disposition: form-data;\r\n name="model"') + END),
        (KIND, MODEL + MODEL.replace(b"\r\n", b"\n") + END),
        (KIND, MODEL + b"--b \nContent-Disposition: form-data; name=model\r\n\r\nx\r\n" + END),
        (KIND, MODEL + part(b'Content-Disposition: form-data; name="model"')[:-2]),
        (KIND, MODEL + part(b"X: " + b"y" * 5_000)),
        (b"multipart/form-data; boundary=b; boundary=c", MODEL + END),
        (b"multipart/form-data; xboundary=b", MODEL + END),
        (b"multipart/form-data", MODEL + END),
        (b'multipart/form-data; boundary="b', MODEL + END),
    ],
)
def test_a_form_that_can_be_read_in_two_ways_is_refused(kind: bytes, body: bytes) -> None:
    with pytest.raises(UnreadableForm):
        find_model(kind, body)


def test_the_forms_of_httpx_are_read() -> None:
    request = httpx.Request(
        "POST", "http://x", data={"model": "cheap"}, files={"file": ("ä.mp3", b"\r\n--\r\n")}
    )

    place = find_model(request.headers["content-type"].encode(), request.read())

    assert place is not None
    assert place.model == "cheap"
