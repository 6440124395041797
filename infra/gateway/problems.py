"""Errors the gateway itself answers, in the one shape of the platform: application/problem+json (RFC 9457)."""

from dataclasses import dataclass
from http import HTTPStatus


@dataclass(frozen=True)
class GatewayProblem:
    """An error Envoy answers with `status`; the details say what to do."""

    status: int
    code: str
    detail: str
    detail_en: str


PROBLEMS = (
    GatewayProblem(400, "bad_request", "요청을 읽을 수 없습니다. 주소와 헤더를 확인하세요.",
                   "The request cannot be read. Check its address and headers."),
    GatewayProblem(401, "unauthorized", "로그인이 필요합니다. 유효한 접근 토큰을 Authorization 헤더에 넣으세요.",
                   "Log in and send a valid access token in the Authorization header."),
    GatewayProblem(404, "not_found", "그런 주소가 없습니다. /docs에서 주소를 확인하세요.",
                   "There is no such address. See /docs for those there are."),
    GatewayProblem(408, "request_timeout", "요청이 제때 도착하지 않았습니다. 다시 보내세요.",
                   "The request did not arrive in time. Send it again."),
    GatewayProblem(413, "too_large", "요청이 너무 큽니다. 사진을 줄이거나 나누어 보내세요.",
                   "The request is too large. Send smaller or fewer photos."),
    GatewayProblem(426, "upgrade_required", "지원하지 않는 프로토콜입니다. HTTP/1.1 이상을 쓰세요.",
                   "This protocol is not supported. Use HTTP/1.1 or newer."),
    GatewayProblem(429, "too_many_requests", "요청이 너무 많습니다. 잠시 후 다시 시도하세요.",
                   "Too many requests. Try again in a moment."),
    GatewayProblem(431, "headers_too_large", "헤더가 너무 큽니다.", "The headers are too large."),
    GatewayProblem(502, "bad_gateway", "서비스의 응답을 읽을 수 없습니다. 잠시 후 다시 시도하세요.",
                   "The service's answer cannot be read. Try again in a moment."),
    GatewayProblem(503, "unavailable", "서비스가 잠시 응답하지 않습니다. 같은 Idempotency-Key로 다시 보내세요.",
                   "The service does not answer for the moment. Repeat with the same Idempotency-Key."),
    GatewayProblem(504, "timeout", "서비스가 제때 응답하지 않았습니다. 같은 Idempotency-Key로 다시 보내세요.",
                   "The service did not answer in time. Repeat with the same Idempotency-Key."),
)  # fmt: skip
# Envoy answers 403 to a token for another audience, and to nothing else here; RFC 6750 section 3.1 says 401.
TOKEN_REFUSED = {403: 401}
# Where only operators pass.
OPERATORS_ONLY = GatewayProblem(
    403, "operators_only", "운영자만 볼 수 있는 화면입니다.", "These pages are for operators only."
)
# What a person can do about it.
AWAY = GatewayProblem(0, "away", "화면을 잠시 불러올 수 없습니다. 잠시 후 새로 고치세요.",
                      "The page cannot be shown for the moment. Reload it in a moment.")  # fmt: skip
# Any other status of Envoy's own.
OTHER = GatewayProblem(0, "gateway_error", "요청을 처리할 수 없습니다. 잠시 후 다시 시도하세요.",
                       "The request cannot be served. Try again in a moment.")  # fmt: skip


# Of the web clients' pages: told as a page to whoever asks for one.
OF_PAGES = (413, 429, 502, 503, 504)


def page(problem: GatewayProblem) -> str:
    """HTML for whoever looks at a page that the gateway cannot bring."""
    said = _said(problem)
    return (
        '<!doctype html><html lang="ko"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>Smart Fitness</title><h1>{said.detail}</h1><p lang="en">{said.detail_en}</p>'
        '<p><a href="/app/">처음으로 · Start</a></p></html>\n'
    )


def part_of_page(problem: GatewayProblem) -> str:
    """HTML for a page that asked for a part of itself, as the pages show their problems."""
    said = _said(problem)
    return f'<div class="problem" role="alert"><p>{said.detail}</p><p lang="en">{said.detail_en}</p></div>\n'


def _said(problem: GatewayProblem) -> GatewayProblem:
    return {413: problem, 429: problem}.get(problem.status, AWAY)


def body(problem: GatewayProblem) -> dict[str, str]:
    """The JSON Envoy fills in: `%...%` are its command operators (the path without its query, the request's id)."""
    title = HTTPStatus(problem.status).phrase if problem.status else "Error"
    return {
        "type": f"urn:smartfitness:problem:{problem.code}",
        "title": title,
        "status": "%RESPONSE_CODE%",
        "code": problem.code,
        "detail": problem.detail,
        "detail_en": problem.detail_en,
        "instance": "%PATH(NQ)%",
        "request_id": "%REQ(X-REQUEST-ID)%",
    }
