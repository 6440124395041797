"""By the limits of production a stream lives as long as it says something now and then, which nothing on the way takes for silence."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from infra.gateway.description import Address
from tests.integration.test_infra_gateway_web import Streams, before

pytestmark = [pytest.mark.faults, pytest.mark.timeout(200)]


def test_a_stream_outlives_75_s_of_comment_lines(tmp_path: Path) -> None:
    with ExitStack() as stack:
        streams = Streams(15)
        stack.callback(streams.close)
        world = before(stack, tmp_path, streams, Address("127.0.0.1", 9))
        assert world.open_for("/app/live/events", 95) >= 95
