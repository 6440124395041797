"""All that the REST APIs answer is in their OpenAPI document: generated requests, good and bad, to every operation."""

import schemathesis

from tests.contract_document import OPERATIONS
from tests.contract_requests import EXAMPLES, SCHEMA, prepare, repeatable
from tests.contract_world import World

# Successes that take a photograph of a face, a code out of a letter, a data set or a history of models: the tests of the
# domains have them.
NOT_WITHOUT = {
    "POST /auth/v1/members/{member_id}/face",
    "POST /auth/v1/members/{member_id}/face/checks",
    "DELETE /auth/v1/members/{member_id}/face",
    "GET /auth/v1/face-reviews/{review_id}/photos",
    "POST /auth/v1/face-reviews/{review_id}/decision",
    "GET /auth/internal/v1/templates/{template_id}",
    "POST /notification/v1/email/verification",
    "POST /mlops/v1/models/{model}/rollback",
    "POST /mlops/v1/deployments/{deployment_id}/promote",
    "POST /mlops/v1/models/{model}/datasets",
}


@SCHEMA.parametrize()
@repeatable(EXAMPLES)
def test_every_answer_is_documented(case: schemathesis.Case, world: World) -> None:
    headers, left_out = prepare(case, world)
    answer = case.call(app=world.app, headers=headers)
    world.answers[f"{case.method} {case.path}"][answer.status_code] += 1
    case.validate_response(answer, headers=headers, excluded_checks=left_out)


def test_every_operation_was_answered_with_success(world: World) -> None:
    """The requests before came through to the rules and the tables, and were not all turned away at the door."""
    asked = {name: found for name, found in world.answers.items() if name in OPERATIONS and name not in NOT_WITHOUT}
    assert {name: found for name, found in asked.items() if not any(status < 300 for status in found)} == {}
