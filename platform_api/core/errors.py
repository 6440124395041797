"""One error, one JSON shape: RFC 9457 problem details, Korean first with English beside it."""

from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, json, request
from werkzeug.exceptions import HTTPException

from platform_api.core.settings import SettingsError

log = structlog.get_logger(__name__)

# What a person is told where only a status is known: (code, Korean, English).
_BY_STATUS: dict[int, tuple[str, str, str]] = {
    400: ("bad_request", "요청 형식이 잘못되었습니다.", "The request is malformed."),
    401: ("unauthorized", "로그인이 필요합니다.", "Sign in first."),
    403: ("forbidden", "이 작업을 할 권한이 없습니다.", "You may not do this."),
    404: ("not_found", "찾을 수 없습니다.", "There is no such thing here."),
    405: (
        "method_not_allowed",
        "이 주소에서는 지원하지 않는 방법입니다.",
        "This address does not support that method.",
    ),
    406: ("not_acceptable", "요청한 형식으로 답할 수 없습니다.", "No answer in the requested format."),
    409: ("conflict", "현재 상태와 충돌합니다.", "This conflicts with the present state."),
    411: ("length_required", "Content-Length가 필요합니다.", "Send a Content-Length."),
    412: (
        "precondition_failed",
        "그사이 내용이 바뀌었습니다. 다시 읽고 시도하세요.",
        "It has changed since; read it again.",
    ),
    413: ("too_large", "보낸 내용이 너무 큽니다.", "What you sent is too large."),
    415: ("unsupported_media_type", "지원하지 않는 형식입니다.", "This content type is not supported."),
    422: ("invalid", "입력값을 확인하세요.", "Check the fields listed in errors."),
    428: ("precondition_required", "If-Match 헤더가 필요합니다.", "Send If-Match with the ETag you read."),
    429: (
        "too_many_requests",
        "요청이 너무 많습니다. 잠시 후 다시 시도하세요.",
        "Too many requests; wait and try again.",
    ),
    500: ("internal", "서버 오류입니다. 잠시 후 다시 시도하세요.", "Something failed on our side; try again later."),
    503: ("unavailable", "잠시 사용할 수 없습니다. 곧 다시 시도하세요.", "Unavailable for the moment; try again soon."),
}


class Problem(Exception):
    """An error that is answered to the caller as it stands.

    Args:
        status: HTTP status.
        code: machine-readable reason, snake_case.
        detail_ko: what is wrong and what to do, in Korean; the words of the status where left out.
        detail_en: the same in English.
        commit: keep what the handler has written (failed-attempt counters); otherwise it is rolled back.
        headers: extra response headers, such as Retry-After.
        extra: further members of the problem document.
    """

    def __init__(
        self,
        status: int,
        code: str | None = None,
        detail_ko: str | None = None,
        detail_en: str | None = None,
        *,
        commit: bool = False,
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        default = _BY_STATUS.get(status, _BY_STATUS[400 if status < 500 else 500])
        self.status = status
        self.code = code or default[0]
        self.detail_ko = detail_ko or default[1]
        self.detail_en = detail_en or (default[2] if detail_ko is None else detail_ko)
        self.commit = commit
        self.headers = headers or {}
        self.extra = extra
        super().__init__(f"{status} {self.code}: {self.detail_en}")

    def response(self) -> Response:
        """The problem+json answer."""
        body = {
            "type": f"urn:smartfitness:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail_ko,
            "detail_en": self.detail_en,
            "instance": request.path,
            **self.extra,
        }
        answer = Response(json.dumps(body), status=self.status, content_type="application/problem+json")
        answer.headers.update(self.headers)
        if self.status == 401:
            answer.headers.setdefault("WWW-Authenticate", "Bearer")
        return answer


def from_http_exception(error: HTTPException) -> Problem:
    """The problem for an error raised by Flask, Werkzeug or flask-smorest (whose `data` holds field errors)."""
    data = getattr(error, "data", None) or {}
    extra = {"errors": data["messages"]} if data.get("messages") else {}
    headers = {
        name: str(value)
        for name, value in error.get_headers()
        if name.lower() in {"allow", "retry-after", "www-authenticate"}
    }
    return Problem(error.code or 500, headers=headers, **extra)


def register_error_handlers(app: Flask) -> None:
    """Answer every error of `app` as problem+json; unexpected ones are logged and tell the caller nothing."""

    def on_problem(error: Problem) -> Response:
        return error.response()

    def on_http(error: HTTPException) -> Response:
        if error.response is not None or (error.code and error.code < 400):
            answer = error.get_response()
            return answer if isinstance(answer, Response) else Response(status=error.code)
        return from_http_exception(error).response()

    def on_settings(error: SettingsError) -> Response:
        log.error("settings", error=str(error))
        return Problem(500).response()

    def on_unexpected(error: Exception) -> Response:
        log.exception("unhandled", path=request.path, method=request.method)
        return Problem(500).response()

    app.register_error_handler(Problem, on_problem)
    app.register_error_handler(HTTPException, on_http)
    app.register_error_handler(SettingsError, on_settings)
    app.register_error_handler(Exception, on_unexpected)
