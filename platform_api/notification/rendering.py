"""Turns a template and what it is about into a title and a text, in Korean or English (`texts.json`).

Parameters are plain words, or things that read differently in each language and time zone. Names come from people, so they
are cut and put on one line: a title must not become two headers of a mail, nor a message too big for the push gateway.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any, Protocol
from zoneinfo import ZoneInfo

TITLE_LENGTH, BODY_LENGTH, VALUE_LENGTH = 120, 600, 80
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True)
class Reader:
    """Who reads it: language `ko` or `en`, and the time zone that clocks show."""

    language: str
    timezone: str


class Phrase(Protocol):
    """A parameter that depends on the reader."""

    def read(self, reader: Reader) -> str:
        """What the reader sees."""


@dataclass(frozen=True)
class Word:
    """A code, such as a reason; one that is not in the list reads as `otherwise`, or as it is."""

    group: str
    code: str
    otherwise: str | None = None

    def read(self, reader: Reader) -> str:
        words = texts()["words"][self.group]
        found = words.get(self.code) or words.get(self.otherwise or "")
        return str(found[reader.language]) if found else self.code.replace("_", " ")


@dataclass(frozen=True)
class Named:
    """A name in Korean and perhaps in English."""

    ko: str
    en: str | None = None

    def read(self, reader: Reader) -> str:
        return self.en if reader.language == "en" and self.en else self.ko


@dataclass(frozen=True)
class Several:
    """A list."""

    items: Sequence["Phrase"]

    def read(self, reader: Reader) -> str:
        return ", ".join(item.read(reader) for item in self.items)


@dataclass(frozen=True)
class Moment:
    """A time, as the reader's clock shows it."""

    at: datetime

    def read(self, reader: Reader) -> str:
        local = self.at.astimezone(ZoneInfo(reader.timezone))
        if reader.language == "en":
            return f"{local:%H:%M on} {local.day} {local:%B}"
        return f"{local.month}월 {local.day}일 {local:%H:%M}"


Value = str | int | Phrase


@cache
def texts() -> dict[str, Any]:
    """All texts."""
    source = resources.files("platform_api.notification") / "texts.json"
    found: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    return found


def render(template: str, reader: Reader, values: Mapping[str, Value]) -> tuple[str, str]:
    """Title and text.

    Raises:
        KeyError: no such template, or a value is missing: a mistake in this program.
    """
    title, body = texts()["templates"][template][reader.language]
    said = {name: read(value, reader) for name, value in values.items()}
    return cut(title.format_map(said), TITLE_LENGTH), cut(body.format_map(said), BODY_LENGTH)


def read(value: Value, reader: Reader) -> str:
    """A value as the reader sees it: on one line, and not too long."""
    said = value if isinstance(value, str) else str(value) if isinstance(value, int) else value.read(reader)
    return cut(_CONTROL.sub(" ", said).strip(), VALUE_LENGTH * (3 if isinstance(value, Several) else 1))


def and_more(names: Sequence[str], count: int, language: str) -> str:
    """Some of `count` names, and how many there are besides."""
    shown = ", ".join(names)
    rest = count - len(names)
    return str(texts()["and_more"][language]).format(names=shown, count=rest) if rest > 0 else shown


def email_footer(language: str) -> str:
    """What stands below every mail that can be turned off."""
    return str(texts()["email_footer"][language])


def cut(value: str, length: int) -> str:
    """`value`, no longer than `length` characters."""
    return value if len(value) <= length else value[: length - 1] + "…"
