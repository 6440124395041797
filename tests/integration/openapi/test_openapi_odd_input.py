"""What no schema thinks of is answered as the document says as well: a problem with a 4xx, and never a fault of ours."""

import base64
import re

import pytest

from tests.contract_document import NAMES, OPERATIONS, address, allowed, assert_documented, properties, required
from tests.contract_world import World

DEEP, LONG = b'{"name":' + b"[" * 30_000, b'{"name":' + b"9" * 5_000 + b"}"
ODD_BODIES: dict[str, tuple[bytes, str]] = {
    "nested beyond measure": (DEEP, "application/json"),
    "nested": (b'{"name":' + b"[" * 400 + b"]" * 400 + b"}", "application/json"),
    "a number of 5000 digits": (LONG, "application/json"),
    "too large": (b'{"name":"' + b"x" * 2**20 + b'"}', "application/json"),
    "not UTF-8": (b'{"name":"\xff\xfe"}', "application/json"),
    "UTF-16": ('{"name":"a"}'.encode("utf-16"), "application/json; charset=utf-16"),
    "a byte order mark": (b'\xef\xbb\xbf{"name":"a"}', "application/json"),
    "a list": (b"[]", "application/json"),
    "a text": (b'"a"', "application/json"),
    "a name with NUL": (b'{"a\\u0000":1}', "application/json"),
    "a name that is half a character": (b'{"\\ud800":1}', "application/json"),
    "another type": (b"{}", "text/plain"),
    "no type": (b"{}", ""),
    "a nonsensical type": (b"{}", "application/json; charset=nonsense; ,;"),
    "a form": (b"a=%00&=&b=%ff", "application/x-www-form-urlencoded"),
    "a form without a boundary": (b"a", "multipart/form-data"),
    "a part without a name": (b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", "multipart/form-data; boundary=b"),
    "a form that breaks off": (b"--b\r\nContent-Disposition: form-data; na", "multipart/form-data; boundary=b"),
}  # fmt: skip
ODD_VALUES = (
    '"\\u0000"', '{"a":{"b":"\\ud800"}}', "1e999", str(2**200), '"2030-01-01T00:00:00-17:11"', '"9999-12-31T23:59:59-23:59"',
    '"0001-01-01"', '"\\ud800"', "[null]", "NaN", "-1", "0.5", '"\u202e ﷽ 💪"',
)  # fmt: skip
WORST = 7
ODD_QUERIES = (
    "%00", "%ff%fe", "%ed%a0%80", "9" * 5_000, "NaN", "1e999", "-1", "0", "x" * 5_000, "%20", "true", "2020-02-30",
    "2030-01-01T00:00:00-17:11", "0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59-23:59", "%F0%9F%92%AA",
)  # fmt: skip
ODD_CURSORS = (
    "null", "{}", "[]", "[null]", '["\\u0000"]', '["a"]', "[1]", "[1e400]", "[-1]", f"[{2**70}]", '["infinity"]', "[[]]",
    '["0001-01-01T00:00:00+23:59","a"]', '["9999-12-31T23:59:59-23:59",1]', '["2020-01-01T00:00:00+00:00","\\ud800"]',
    '["a","b"]', "[1,1]", "[1,2,3]", '[NaN,"a"]', "[" * 100,
)  # fmt: skip
ODD_IDS = ("%00", "%FF%FE", "%ED%A0%80", "x" * 5_000, "%F0%9F%92%AA", "%2e%2e", "-1", "*", "%0a", "%25s", "'", "me")


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("GET")])
def test_odd_bodies(name: str, world: World) -> None:
    method, url = name.split(" ", 1)[0], f"{address(name, world)}?{required(name)}"
    for word, (body, kind) in ODD_BODIES.items():
        options = {"data": body, "content_type": kind} if kind else {"data": body}
        answer = world.client.open(url, method=method, headers={**allowed(name, world), "If-Match": '"0"'}, **options)
        assert_documented(answer, name, word)


@pytest.mark.parametrize("name", [name for name in NAMES if properties(name)])
def test_odd_values(name: str, world: World) -> None:
    method, url = name.split(" ", 1)[0], address(name, world)
    fields = properties(name)
    for number, odd in enumerate(ODD_VALUES):
        # All at once; the worst alone as well, since a wrong field may hide another.
        for chosen in [fields, *([word] for word in fields if number < WORST)]:
            body = "{" + ",".join(f'"{word}":{odd}' for word in chosen) + "}"
            headers = {**allowed(name, world), "If-Match": "*"}
            answer = world.client.open(url, method=method, headers=headers, data=body, content_type="application/json")
            assert_documented(answer, name, body)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("GET")])
def test_odd_queries(name: str, world: World) -> None:
    parameters = OPERATIONS[name].get("parameters", ())
    path = address(name, world)
    for word in [found["name"] for found in parameters if found["in"] == "query"]:
        odd = [base64.urlsafe_b64encode(text.encode()).decode() for text in ODD_CURSORS] if word == "cursor" else []
        for value in (*ODD_QUERIES, *odd):
            query = f"{word}={value}&{required(name, word)}"
            answer = world.client.get(f"{path}?{query}", headers=allowed(name, world))
            assert_documented(answer, name, query)


@pytest.mark.parametrize("name", [name for name in NAMES if "{" in name])
def test_odd_ids_and_headers(name: str, world: World) -> None:
    method, path = name.split(" ", 1)
    for odd in ODD_IDS:
        url = f"{re.sub(r'{.*?}', odd, path)}?{required(name)}"
        answer = world.client.open(url, method=method, headers={**allowed(name, world), "If-Match": "*"}, json={})
        assert_documented(answer, name, url)
    for odd in ("", "x" * 201, "\xe9", 'W/"1"', ",,", '"1", "2"'):
        headers = {**allowed(name, world), "If-Match": odd, "Idempotency-Key": odd or "\x7f"}
        answer = world.client.open(re.sub(r"{.*?}", "none", path), method=method, headers=headers, json={})
        assert_documented(answer, name, headers)
