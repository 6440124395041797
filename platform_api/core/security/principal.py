"""The caller of a request: read from the token once, checked by role on the route and by object in the rules."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

import structlog
from flask import g
from flask_jwt_extended import get_jwt, verify_jwt_in_request
from flask_jwt_extended.exceptions import JWTExtendedException, RevokedTokenError
from jwt.exceptions import ExpiredSignatureError, PyJWTError

from platform_api.core.errors import Problem
from platform_api.core.openapi import needs_token
from platform_api.core.request_limits import count_account

_OURS = {"service", "device"}
ROLES = ("customer", "helper", "branch_manager", "operator", "device", "service")

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Principal:
    """Who is calling.

    Attributes:
        id: member id, or the client id of a service.
        branch_ids: branches that a branch manager runs.
        claims: all claims of the token.
    """

    id: str
    roles: frozenset[str]
    branch_ids: frozenset[str] = frozenset()
    claims: dict[str, object] = field(default_factory=dict, compare=False, repr=False)

    @property
    def is_operator(self) -> bool:
        """Whether they may see and do everything that people may."""
        return "operator" in self.roles

    def manages(self, branch_id: str) -> bool:
        """Whether they run that branch: its manager, or an operator."""
        return self.is_operator or ("branch_manager" in self.roles and branch_id in self.branch_ids)


def require(*roles: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a route be called only with a valid access token of one of `roles` (of any role where none is named).

    Answers 401 `token_missing`, `token_expired`, `token_revoked` or `token_invalid`, 403 `forbidden`, or 429
    `too_many_requests`.
    """
    unknown = set(roles) - set(ROLES)
    if unknown:
        raise ValueError(f"unknown roles: {unknown}")

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            caller = _authenticate()
            if roles and not caller.roles & set(roles):
                raise Problem(403)
            return function(*args, **kwargs)

        guarded.required_roles = roles  # type: ignore[attr-defined]
        return needs_token(guarded, roles)

    return decorate


def principal() -> Principal:
    """The caller of the present request; the route must have `require`."""
    caller = g.get("principal")
    if not isinstance(caller, Principal):
        raise Problem(401)
    return caller


def same_member(member_id: str) -> None:
    """Raise unless the caller is that member, an operator or a service.

    Raises:
        Problem: 404, the same as for an object that does not exist, so that ids cannot be probed.
    """
    caller = principal()
    if caller.id != member_id and not caller.roles & {"operator", "service"}:
        raise Problem(404)


def _authenticate() -> Principal:
    try:
        verify_jwt_in_request()
    except ExpiredSignatureError as error:
        raise Problem(
            401, "token_expired", "로그인이 만료되었습니다. 토큰을 갱신하세요.", "The token has expired; refresh it."
        ) from error
    except RevokedTokenError as error:
        raise Problem(
            401,
            "token_revoked",
            "이 로그인은 끝났거나 권한이 바뀌었습니다. 토큰을 갱신하거나 다시 로그인하세요.",
            "This login has ended, or your roles changed; refresh the token or sign in again.",
        ) from error
    except JWTExtendedException as error:
        raise Problem(401, "token_missing", "로그인이 필요합니다.", "Send a bearer token.") from error
    except PyJWTError as error:
        raise _invalid() from error
    claims = get_jwt()
    # Without an end it would be good for ever; and what is no list of names would be read as some other set of them.
    if "exp" not in claims:
        raise _invalid()
    caller = Principal(
        id=str(claims["sub"]), roles=_names(claims, "roles"), branch_ids=_names(claims, "branch_ids"), claims=claims
    )
    if not caller.roles & _OURS:
        count_account(caller.id)
    g.principal = caller
    g.principal_id = caller.id
    structlog.contextvars.bind_contextvars(principal=caller.id)
    return caller


def _names(claims: dict[str, object], claim: str) -> frozenset[str]:
    found = claims.get(claim, [])
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise _invalid()
    return frozenset(found)


def _invalid() -> Problem:
    return Problem(401, "token_invalid", "토큰이 올바르지 않습니다.", "The token is not valid.")
