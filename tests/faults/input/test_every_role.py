"""Generated requests to every operation as each kind of caller, one after the other: nobody gets an answer that is not in the document.

The mix of callers of the contract test (tests/integration/openapi) is for depth; this is for breadth. What was asked is told in
build/faults/input_roles.json.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest
import schemathesis

from tests.contract_document import OPERATIONS, roles
from tests.contract_requests import SCHEMA, prepare, repeatable
from tests.contract_world import PEOPLE, World
from tests.results import save, sized

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

CALLERS = sized(("anonymous",), ("anonymous", *PEOPLE, "device", "service"))
BAR = "no caller gets an answer that is not in the document, or a fault of ours, and nobody gets in without a token"
ASKED: dict[str, Counter[str]] = defaultdict(Counter)


@pytest.fixture(scope="module", autouse=True)
def _told(request: pytest.FixtureRequest) -> Iterator[None]:
    ASKED.clear()
    failed = request.session.testsfailed
    yield
    undocumented = request.session.testsfailed - failed
    figures = {
        "requests": sum(sum(found.values()) for found in ASKED.values()),
        "operations": len(OPERATIONS),
        "failed": undocumented,
    }
    save("faults", "input_roles", {**figures, "statuses_by_caller": {name: dict(found) for name, found in ASKED.items()}}, bar=BAR, holds=not undocumented)  # fmt: skip


@pytest.mark.parametrize("caller", CALLERS)
@SCHEMA.parametrize()
@repeatable(sized(1, 3))
def test_as_everybody(case: schemathesis.Case, caller: str, platform: World) -> None:
    _, left_out = prepare(case, platform)
    headers = {} if caller == "anonymous" else platform.headers(caller)
    answer = case.call(app=platform.app, headers=headers)
    ASKED[caller][f"{answer.status_code // 100}xx"] += 1
    case.validate_response(answer, headers=headers, excluded_checks=left_out)
    name = f"{case.method} {case.path}"
    if caller == "anonymous" and name in OPERATIONS and (roles(name) or {"device": []} in OPERATIONS[name]["security"]):
        assert answer.status_code in (401, 404, 413, 415, 422), answer.status_code
