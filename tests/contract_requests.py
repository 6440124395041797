"""Generated requests, good and bad, to every operation of the OpenAPI document.

Schemathesis makes the requests out of the document (https://schemathesis.readthedocs.io): boundary values of each field,
missing ones, wrong types, and random ones; the ids in them are replaced in part by ids of what is there. The same requests
are made each time, unless told otherwise: SMARTFIT_CONTRACT_EXAMPLES says how many random ones an operation gets, and
SMARTFIT_CONTRACT_SEED which.
"""

import copy
import os
import re
import zlib
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi import checks
from uuid_utils.compat import uuid7

from tests.contract_document import DOCUMENT, METHODS, OPERATIONS, roles
from tests.contract_values import fill
from tests.contract_world import PEOPLE, Headers, World

EXAMPLES = int(os.environ.get("SMARTFIT_CONTRACT_EXAMPLES", "6"))
SEED = int(os.environ.get("SMARTFIT_CONTRACT_SEED", "20"))
REFUSED = ["400", "401", "403", "404", "405", "409", "410", "412", "413", "415", "422", "428", "429"]


def _without_security(document: dict[str, Any]) -> dict[str, Any]:
    # Callers have tokens of their own, lest a test of the body fail for want of one.
    bare = copy.deepcopy(document)
    del bare["components"]["securitySchemes"]
    for item in bare["paths"].values():
        for method in METHODS:
            item.get(method, {}).pop("security", None)
    return bare


# What earlier answers said must not bear on later requests, which would differ from run to run.
ALONE = {"extra-data-sources": {"responses": False}}
CONFIG = schemathesis.Config.from_dict(
    {
        "seed": SEED,
        "analysis": {"constants": {"enabled": False}},
        "checks": {"negative_data_rejection": {"expected-statuses": REFUSED}},
        "phases": {
            "examples": ALONE,
            "coverage": {**ALONE, "unexpected-methods": ["DELETE", "PATCH"]},
            "fuzzing": {**ALONE, "error-feedback": {"enabled": False}},
        },
    }
)
SCHEMA = schemathesis.openapi.from_dict(_without_security(DOCUMENT), config=CONFIG)
# Rules go beyond what a schema can say (check digits, hours, who has visited what): a good form may be refused. Tokens
# have tests of their own.
LEFT_OUT = [checks.positive_data_acceptance, checks.ignored_auth]


def lot(case: schemathesis.Case, of: int) -> int:
    """A number below `of` that hangs on the request alone, so that a failing request stays the same when repeated."""
    seen = repr((case.method, case.path, case.path_parameters, dict(case.query), dict(case.headers), case.body))
    return zlib.crc32(seen.encode(errors="surrogatepass")) % of


def prepare(case: schemathesis.Case, world: World) -> tuple[Headers, list[Any]]:
    """Let a request concern what is there, seven times in eight where it is well formed.

    Returns the caller's token, and the checks that cannot be made.
    """
    number, domain = lot(case, 2**16), case.path.split("/")[1]
    place = world.spare if case.method == "DELETE" else world.ids
    known = {**world.ids[domain], **place[domain], **world.values.get(case.path, {})}
    # Asked before anything is changed, since changes have it worked out anew.
    bad = {part for part in ParameterLocation if case.meta and case.meta.is_negative_at(part)}
    left_out = LEFT_OUT
    if case.media_type == "multipart/form-data":
        # What works it out knows no files, and takes a good form for a bad one.
        left_out = [*LEFT_OUT, checks.negative_data_rejection]
    parts = ((ParameterLocation.PATH, case.path_parameters), (ParameterLocation.QUERY, case.query),
             (ParameterLocation.BODY, case.body))  # fmt: skip
    for location, values in parts:
        if location not in bad and number % 8 and isinstance(values, dict):
            fill(values, known, number)
    good = ParameterLocation.HEADER not in bad
    if good and "If-Match" in case.headers and number % 3:
        case.headers["If-Match"] = "*"
    # Under a key that was used before, an answer would only be given again.
    if re.fullmatch("[ -~]{1,128}", case.headers.get("Idempotency-Key", "")) and (number % 7 or not good):
        case.headers["Idempotency-Key"] = str(uuid7())
    owner = world.owners.get(case.path)
    return world.headers(owner if owner and number % 16 else caller(case, number)), left_out


def caller(case: schemathesis.Case, number: int) -> str:
    """Mostly somebody who may, now and then somebody else."""
    name = f"{case.method} {case.path}"
    if name in OPERATIONS and {"device": []} in OPERATIONS[name]["security"]:
        return "device"
    able = roles(name) if name in OPERATIONS else []
    if not able or number % 16 == 0:
        able = [*PEOPLE, "service"]
    if "operator" in able and number // 16 % 2:
        return "operator"
    return able[number // 32 % len(able)]


def repeatable(examples: int) -> settings:
    """So many random requests an operation, the same ones at each run."""
    return settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
