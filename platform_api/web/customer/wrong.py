"""What is wrong with which field, in words that say what to do. The domains name the field; their words are for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from platform_api.core.errors import Problem
from platform_api.web.languages import say

_FIELDS = {
    "email": ("이메일 주소를 확인하세요. 예: name@example.com", "Check the address, e.g. name@example.com."),
    "name": ("이름을 1~100자로 적으세요.", "Write a name of 1 to 100 characters."),
    "phone": ("전화번호를 확인하세요. 예: 010-1234-5678", "Check the number, e.g. 010-1234-5678."),
    "birth_date": ("생년월일을 확인하세요. 예: 1995-04-12", "Check the date of birth, e.g. 1995-04-12."),
    "number": ("카드 번호를 확인하세요. 빠지거나 바뀐 숫자가 있습니다.", "Check the card number: a digit is missing or wrong."),
    "expiry": ("유효기간을 MM/YY로 적으세요. 예: 08/29", "Write the expiry as MM/YY, e.g. 08/29."),
    "password": ("비밀번호를 확인하세요.", "Check the password."),
    "current_password": ("현재 비밀번호를 적으세요.", "Write your present password."),
    "new_password": ("새 비밀번호를 확인하세요.", "Check the new password."),
}  # fmt: skip
_FIELD_OF = {
    "email_taken": "email",
    "under_age": "birth_date",
    "card_declined": "number",
    "card_unavailable": "number",
    "password_weak": "password",
    "password_wrong": "current_password",
}


def wrong_fields(problem: Problem, **renamed: str) -> dict[str, str]:
    """Words by the name of the field. `renamed`: what the form calls a field that the domain calls otherwise."""
    if problem.code in _FIELD_OF:
        name = _FIELD_OF[problem.code]
        return {renamed.get(name, name): say(problem.detail_ko, problem.detail_en)}
    told = problem.extra.get("errors")
    names = list(_names(told.get("json"))) if isinstance(told, Mapping) else []
    return {renamed.get(name, name): say(*_FIELDS[name]) for name in names if name in _FIELDS}


def _names(told: object) -> Iterator[str]:
    for name, said in told.items() if isinstance(told, Mapping) else ():
        if isinstance(said, Mapping):
            yield from _names(said)
        else:
            yield str(name)
