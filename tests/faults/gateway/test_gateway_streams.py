"""By the limits of production a stream lives as long as it says something now and then, which nothing on the way takes for silence."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from infra.gateway.description import Address, Gateway
from tests.integration.test_infra_gateway_web import Streams, before
from tests.results import save, sized

pytestmark = [pytest.mark.faults, pytest.mark.timeout(200)]

IDLE_S = sized(6.0, Gateway.stream_idle_s)
"""What the gateway takes for silence; at the small size less than production's."""
BAR = "a stream that says something now and then outlives what the gateway takes for silence"


def test_a_stream_outlives_the_longest_silence(tmp_path: Path) -> None:
    with ExitStack() as stack:
        streams = Streams(IDLE_S / 5)
        stack.callback(streams.close)
        world = before(stack, tmp_path, streams, Address("127.0.0.1", 9), stream_idle_s=IDLE_S)
        asked_s = 1.25 * IDLE_S
        lived_s = world.open_for("/app/live/events", asked_s)
    figures = {"silence_s": IDLE_S, "asked_s": asked_s, "lived_s": round(lived_s, 1)}
    save("faults", "gateway_streams", figures, bar=BAR, holds=lived_s >= asked_s)
    assert lived_s >= asked_s
