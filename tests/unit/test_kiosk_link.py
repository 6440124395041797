"""Where a gate's screen is, and the link that sets it up: told to who asks for it, and not by `up`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from infra.local.cli import main
from infra.local.credentials import Credentials
from infra.local.startup import show_addresses
from infra.local.state import State


@pytest.fixture
def state(tmp_path: Path) -> State:
    """An installation whose gates are registered."""
    made = State(tmp_path / "s")
    made.prepare()
    gates = {name: {"gate_id": f"gate-{name}", "kiosk_key": f"secret-{name}"} for name in ("in", "out")}
    Credentials(made.secrets).provision.write_text(json.dumps({"branch_id": "local", "edge_id": "e", "gates": gates}))
    return made


def test_the_link_is_told_to_who_asks(state: State, tmp_path: Path) -> None:
    told = CliRunner().invoke(main, ["kiosk", "--state", str(state.folder), "--host", "gym.example"])
    assert told.exit_code == 0
    assert f"in\thttps://gym.example:{state.ports['edge']}/kiosk/gate-in/#secret-in" in told.output
    assert "/kiosk/gate-out/#secret-out" in told.output
    none = CliRunner().invoke(main, ["kiosk", "--state", str(tmp_path / "empty")])
    assert none.exit_code == 1


def test_what_up_shows_holds_no_key(state: State, capsys: pytest.CaptureFixture[str]) -> None:
    show_addresses(state)
    shown = capsys.readouterr().out
    assert "gate-in" in shown.replace("\n", "")
    assert "smartfit kiosk" in shown
    assert "secret" not in shown.replace(str(state.secrets), "")
