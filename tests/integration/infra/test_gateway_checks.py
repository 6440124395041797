"""The checks of the gateway hold, and can fail."""

from dataclasses import replace

import pytest

from infra.checks.check import Check, CheckFailed
from infra.checks.gateway import checks, validate
from infra.gateway.description import Address
from infra.gateway.forms import compose


@pytest.mark.parametrize("check", list(checks()), ids=lambda check: check.name)
def test_check_holds(check: Check) -> None:
    check.run()


def test_wrong_configuration_fails_with_the_words_of_envoy() -> None:
    with pytest.raises(CheckFailed, match="port_value"):
        validate(lambda _: replace(compose(), plain=(Address("0.0.0.0", 70_000),)))
