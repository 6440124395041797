"""A local installation before anything runs: its folder, secrets, certificates, rendered configuration and the doctor."""

import configparser
import json
import os
import shlex
import socket
import stat
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509

from infra.local import certificates, credentials, doctor, environment
from infra.local.cli import main
from infra.local.services import ORDER, Service, gateway, services
from infra.local.state import Choices, Ports, State, StateError
from infra.local.supervisor import render


@pytest.fixture
def state(tmp_path: Path) -> State:
    made = State(tmp_path / "state")
    made.prepare()
    return made


def _private(path: Path) -> bool:
    return stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_ports_are_those_documented_and_shift_together() -> None:
    expected = {
        "gateway": 8443,
        "edge": 8444,
        "api": 8445,
        "worker": 8446,
        "card": 8447,
        "gate": 8448,
        "postgres": 8449,
        "envoy-admin": 8450,
        "indexer": 8451,
        "sender": 8452,
        "fcm": 8453,
        "smtp": 8454,
        "smtp-http": 8455,
        "heartbeat": 8456,
        "heartbeat-health": 8457,
        "prober": 8458,
        "dagster": 8459,
        "gateway-metrics": 8460,
        "web": 8461,
        "webpush": 8462,
    }
    assert Ports().by_service == expected
    assert Ports(18440).by_service == {name: port + 10_000 for name, port in expected.items()}
    for wrong in (0, 1023, 65530):
        with pytest.raises(StateError, match="--port-base"):
            Ports(wrong)


def test_choices_are_kept(state: State) -> None:
    assert state.choices == Choices()
    state.save(Choices(9440, "10.0.0.5"))
    assert State(state.folder).choices == Choices(9440, "10.0.0.5")
    (state.run / "up.json").write_text("{")
    with pytest.raises(StateError, match=r"up\.json"):
        _ = state.choices


def test_only_one_up_at_a_time(state: State) -> None:
    with state.locked(), pytest.raises(StateError, match="another smartfit"), State(state.folder).locked():
        raise AssertionError("two at once")


def test_secrets_are_made_once_and_only_their_owner_reads_them(state: State) -> None:
    credentials.ensure(state)
    first = {path: path.read_bytes() for path in state.secrets.rglob("*") if path.is_file()}
    assert len(first) > 20
    assert all(_private(path) for path in [state.secrets, *state.secrets.rglob("*")])
    credentials.ensure(state)
    assert {path: path.read_bytes() for path in state.secrets.rglob("*") if path.is_file()} == first
    values = [text for path, text in first.items() if path.name.endswith(("_password", "_key", "_secret"))]
    assert len(set(values)) == len(values)
    assert all(len(value) >= 40 for value in values)


def test_a_new_port_base_changes_addresses_and_no_secret(state: State) -> None:
    held = credentials.ensure(state)
    password = held.operator_password.read_text()
    state.save(Choices(9440))
    credentials.ensure(state)
    assert ":9449/sf_auth" in held.database_url("auth").read_text()
    assert held.operator_password.read_text() == password


def test_certificates_name_this_machine_and_are_renewed_when_a_name_is_missing(state: State) -> None:
    made = certificates.server(state.tls, "gateway", environment.names(state))
    assert _private(made.key)
    assert _private(state.tls / "ca.key")
    before = made.chain.read_bytes()
    assert certificates.server(state.tls, "gateway", environment.names(state)).chain.read_bytes() == before
    state.save(Choices(listen="192.0.2.7"))
    certificates.server(state.tls, "gateway", environment.names(state))
    loaded = x509.load_pem_x509_certificate(made.chain.read_bytes())
    names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(name.value) for name in names} == {"localhost", "127.0.0.1", "::1", "192.0.2.7"}
    loaded.verify_directly_issued_by(x509.load_pem_x509_certificate((state.tls / "ca.pem").read_bytes()))


def test_certificate_of_another_authority_is_replaced(state: State, tmp_path: Path) -> None:
    other = certificates.server(state.tls, "gateway").chain.read_bytes()
    for file in ("ca.pem", "ca.key"):
        (state.tls / file).unlink()
    assert certificates.server(state.tls, "gateway").chain.read_bytes() != other


def _programs(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return parser


def test_supervisor_is_told_every_service_and_no_secret(state: State) -> None:
    held = credentials.ensure(state)
    held.provision.write_text(json.dumps({"edge_id": "e1"}))
    wanted = services(state, held)
    assert {service.name for service in wanted} == set(ORDER)
    text = render(state, wanted)
    parser = _programs(text)
    for service in wanted:
        section = parser[f"program:{service.name}"]
        assert shlex.split(section["command"]) == service.command
        assert section["autorestart"] == "true"
    assert parser["unix_http_server"]["chmod"] == "0600"
    assert "inet_http_server" not in parser
    secret_values = [
        path.read_text().strip()
        for path in state.secrets.rglob("*")
        if path.is_file() and path.name.endswith(("_password", "_key", "_secret", "_url"))
    ]
    assert not [value for value in secret_values if value in text]


def test_edge_waits_for_its_registration(state: State) -> None:
    assert "edge" not in {service.name for service in services(state, credentials.ensure(state))}


def test_odd_paths_survive_the_configuration(tmp_path: Path) -> None:
    odd = State(tmp_path / '100% "mine"')
    odd.prepare()
    service = Service(
        "x", ["run", "a b", "50%", 'q"q'], "https://x/readyz", environment={"PLACE": str(odd.folder), "N": "1%2"}
    )
    section = _programs(render(odd, [service]))["program:x"]
    assert shlex.split(section["command"].replace("%%", "%")) == service.command
    assert "1%%2" in section["environment"]


def test_line_break_in_a_setting_is_refused(state: State) -> None:
    with pytest.raises(StateError, match="line break"):
        render(state, [Service("x", ["run"], "https://x/readyz", environment={"A": "1\nautostart=true"})])


def test_nothing_beyond_loopback_unless_asked(state: State) -> None:
    assert {address.host for address in gateway(state).listen} == {"127.0.0.1"}
    state.save(Choices(listen="192.0.2.7"))
    assert {address.host for address in gateway(state).listen} == {"127.0.0.1", "192.0.2.7"}
    state.save(Choices(listen="0.0.0.0"))
    assert {address.host for address in gateway(state).listen} == {"0.0.0.0"}
    assert gateway(state).admin.host == "127.0.0.1"


def test_services_see_only_what_they_need_of_the_callers_environment(state: State) -> None:
    choices = {"SMARTFIT_LOG_LEVEL": "DEBUG", "SMARTFIT_SHADOW_MAX_HOURS": "2", "SMARTFIT_DEPLOYMENT_STAGES": "[]"}
    caller = {"PATH": "/bin", **choices, "SMARTFIT_AUTH_DATABASE_URL": "x", "SECRET": "y"}
    seen = environment.base(state, caller)
    assert seen["PATH"] == "/bin"
    assert choices.items() <= seen.items()
    assert not {"SMARTFIT_AUTH_DATABASE_URL", "SECRET"} & set(seen)


def _subjects(state: State) -> dict[str, doctor.Finding]:
    return {finding.subject: finding for finding in doctor.findings(state)}


def test_doctor_is_content_with_a_sound_machine(state: State) -> None:
    credentials.ensure(state)
    state.save(Choices(23440))
    assert [finding for finding in doctor.findings(state) if finding.blocking] == []


def test_doctor_names_a_busy_port_and_what_to_type(state: State) -> None:
    state.save(Choices(24440))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 24447))
        other.listen()
        finding = _subjects(state)["port 24447"]
    assert finding.blocking
    assert "card" in finding.english
    assert str(os.getpid()) in finding.english
    assert finding.remedy == "smartfit up --port-base 25440"


def test_doctor_finds_readable_secrets(state: State) -> None:
    held = credentials.ensure(state)
    held.keyring.chmod(0o644)
    finding = _subjects(state)["secrets"]
    assert finding.blocking
    assert finding.remedy == f"chmod go-rwx {held.keyring}"


def test_doctor_finds_a_slow_clock(state: State) -> None:
    held = credentials.ensure(state)
    ahead = time.time() + 3600
    os.utime(held.keyring, (ahead, ahead))
    assert "60 minutes slow" in _subjects(state)["clock"].english


def test_doctor_finds_missing_and_old_packages(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["not-there>=1; extra == 'local'", "click>=1000", "left-out; extra == 'dagster'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda _: wanted)
    found = _subjects(state)
    assert found["not-there"].remedy == "make setup"
    assert "1000" in found["click"].english
    assert "left-out" not in found


def test_doctor_finds_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    assert "socket" in _subjects(State(tmp_path / ("x" * 90)))["state"].english


def test_doctor_refuses_an_address_that_is_not_here(state: State) -> None:
    for wrong in ("198.51.100.1", "example.com"):
        state.save(Choices(listen=wrong))
        assert wrong in _subjects(state)["listen"].english


def test_commands_on_an_installation_that_does_not_run(tmp_path: Path) -> None:
    here = ["--state", str(tmp_path / "nothing")]
    run = CliRunner().invoke
    assert run(main, ["status", *here]).exit_code == 3
    assert run(main, ["down", *here]).exit_code == 0
    logs = run(main, ["logs", "edge", *here])
    assert logs.exit_code == 1
    assert run(main, ["keys", "rotate", "jwt", *here]).exit_code == 1
    assert not (tmp_path / "nothing").exists()


def test_busy_port_stops_up_before_anything_is_started(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 25443))
        other.listen()
        done = CliRunner().invoke(main, ["up", "--state", str(tmp_path / "s"), "--port-base", "25440"])
    assert done.exit_code == 2
    assert "25443" in done.output
    assert "--port-base 26440" in done.output
    assert not (tmp_path / "s" / "pg").exists()
    assert not list((tmp_path / "s" / "secrets").iterdir())


def test_files_that_are_no_weights_are_refused_and_nothing_is_added(tmp_path: Path) -> None:
    wrong = tmp_path / "weights.pth"
    wrong.write_bytes(b"not weights")
    done = CliRunner().invoke(main, ["models", "add", "liveness", str(wrong), "--state", str(tmp_path / "s")])
    assert done.exit_code == 1
    assert "weights.pth" in done.output
    assert not list((tmp_path / "s" / "models").rglob("*.pth"))
