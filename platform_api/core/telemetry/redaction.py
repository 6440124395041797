"""What may be written down for people to read (logs, spans, the audit trail), with secrets and faces taken out of it.

Fields go by their name, at any depth, and by type: bytes, arrays and long rows of numbers are never written, whatever they
are called, because a template or a photo must not reach a log by accident. Texts (messages, exceptions, stack traces) go by
form: what a driver, a client or a parser puts into an error is nobody's choice, and often what was being handled.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

GONE = "[redacted]"
SECRET_NAMES = frozenset(
    {
        "password", "secret", "token", "authorization", "cookie", "api_key", "client_secret", "access_token",
        "refresh_token", "kiosk_key", "private_key", "card", "card_number", "number", "phone", "email", "vector",
        "vectors", "template", "embedding", "photo", "photos", "frame", "crop", "image", "landmarks", "subscription", "p256dh",
    }
)  # fmt: skip
# A word of these anywhere in a name makes it a secret: new_password, Set-Cookie, userToken.
SECRET_WORDS = frozenset({"password", "passwd", "secret", "token", "cookie", "authorization", "totp", "otp"})
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
MOST_NUMBERS = 16
LONGEST_TEXT = 16_384
"""Characters of one text; a stack trace is kept at both ends."""
_PLAIN = (int, float, bool, type(None))
_DEPTH = 6

_NUMBER = r"-?\d{1,24}(?:\.\d{0,24})?(?:[eE][-+]?\d{1,4})?"
_NAMES = sorted(SECRET_WORDS | (SECRET_NAMES - {"number", "card", "photo", "photos", "frame", "crop", "image"}))


def _form(needles: str, pattern: str, instead: str = GONE) -> tuple[tuple[str, ...], re.Pattern[str], str]:
    return tuple(needles.split()), re.compile(pattern, re.IGNORECASE), instead


# Words of which a text must have one (in lower case; a search for them costs next to nothing), what is looked for then, and
# what stands there instead. In this order; each is about linear in the length of the text.
_FORMS = (
    _form("-----begin", r"-----BEGIN [A-Z0-9 ]+-----[\s\S]*?(?:-----END [A-Z0-9 ]+-----|\Z)"),
    # PostgreSQL quotes values: the row or the key in DETAIL, the statement with its values in LINE.
    _form("detail: context: line", r"\b(DETAIL|CONTEXT|LINE \d+):[^\n]*", rf"\1: {GONE}"),
    _form("invalid", r"(invalid input (?:syntax|value)[^\n:]*: )\"[^\n]*", rf"\1{GONE}"),
    # pydantic quotes what it was given.
    _form("input_value=", r"\binput_value=[^\n]*?(?=, input_type=|\]?(?:\n|\Z))", f"input_value={GONE}"),
    _form("eyj", r"\beyJ[\w-]{4,}\.[\w-]{4,}(?:\.[\w-]*)*"),
    _form("bearer basic", r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", rf"\1 {GONE}"),
    # User and password of a URL, and its query.
    _form("@", r"(\b[a-z][a-z0-9+.-]{1,20}://)[^\s/@\"'<>]{1,200}@", rf"\1{GONE}@"),
    _form("?", r"\?[\w.~%\[\]-]{1,100}=[^\s\"'<>)]*", f"?{GONE}"),
    # name=value, "name": "value", name: value
    _form(
        " ".join(_NAMES),
        rf"(\b[\w-]{{0,40}}(?:{'|'.join(_NAMES)})[\"']?\s{{0,3}}[:=]\s{{0,3}})"
        r"(?!\[redacted)(\"[^\"\n]*\"|'[^'\n]*'|[^\s,;)}\]]+)",
        rf"\1{GONE}",
    ),
    _form("@", r"[\w.%+-]{1,64}@[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})+"),
    _form("b' b\"", r"\bb'(?:[^'\\\n]|\\.){16,}'|\bb\"(?:[^\"\\\n]|\\.){16,}\"", "[bytes]"),
    _form(", .", rf"(?:{_NUMBER}[,\s]\s*){{{MOST_NUMBERS},}}{_NUMBER}", "[numbers]"),
    _form("01 +82", r"(?<![\w+-])(?:\+82[ -]?|0)1[016789][ -]?\d{3,4}[ -]?\d{4}(?![\w-])"),
)
_BASE64 = re.compile(r"(?<![\w+/])[A-Za-z0-9+/_-]{43}=(?![\w=])|[A-Za-z0-9+/_-]{100,}={0,2}")
_CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])")
# Names, routes and ids, the most of what is logged: nothing of the above fits them.
_HARMLESS = re.compile(
    r"(?!eyJ)[A-Za-z_/<](?:[A-Za-z_./<>-]|\d(?!\d{3})){0,98}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
)


def redact(value: Any, name: str = "", depth: int = 0) -> Any:
    """`value` as it may be written: secret fields as "[redacted]", binary data as its type and size, texts by `redact_text`."""
    if _is_secret(name):
        return GONE
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if depth >= _DEPTH:
        return f"[{type(value).__name__}]"
    if isinstance(value, Mapping):
        return {redact_text(str(key)): redact(item, str(key), depth + 1) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        shown = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.repr}
        return redact(shown, name, depth + 1)
    if isinstance(value, list | tuple | set | frozenset):
        if len(value) > MOST_NUMBERS and all(isinstance(item, int | float) for item in value):
            return f"[{len(value)} numbers]"
        return [redact(item, "", depth + 1) for item in value]
    if hasattr(value, "shape"):
        return f"[array {getattr(value, 'shape', '')}]"
    return redact_text(str(value))


def redact_text(text: str) -> str:
    """A text without what has the form of a secret, a face or an address: keys, tokens, rows of a database, e-mail, ...

    Cut to LONGEST_TEXT characters, from its middle.
    """
    if len(text) > LONGEST_TEXT:
        # A secret cut in two would not be known any more: the rest of the line that the cut falls into goes as well.
        head = text[: LONGEST_TEXT // 2].rpartition("\n")[0]
        tail = text[-LONGEST_TEXT // 2 :].partition("\n")[2]
        text = f"{head}\n[{len(text) - len(head) - len(tail)} characters]\n{tail}"
    if _HARMLESS.fullmatch(text):
        return text
    low = text.lower()
    for needles, form, instead in _FORMS:
        if any(needle in low for needle in needles):
            text = form.sub(instead, text)
    text = _BASE64.sub(_unless_a_word, text)
    return _CARD.sub(lambda found: GONE if _luhn(found[0]) else found[0], text)


def _is_secret(name: str) -> bool:
    return name.lower() in SECRET_NAMES or not SECRET_WORDS.isdisjoint(word.lower() for word in _WORDS.findall(name))


def _unless_a_word(found: re.Match[str]) -> str:
    # Long paths and rules (-----) are no data: that has letters of both cases, and digits.
    text = found[0]
    data = any(map(str.isdigit, text)) and not text.islower() and not text.isupper()
    return f"[{len(text)} characters]" if data else text


def _luhn(text: str) -> bool:
    digits = [int(each) for each in reversed(text) if each.isdigit()]
    doubled = [sum(divmod(2 * each, 10)) for each in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
