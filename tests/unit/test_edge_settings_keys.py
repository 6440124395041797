"""A node that is set up wrong says which setting it is; its key proves who it is and is readable by nobody else."""

from __future__ import annotations

import base64
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from access_edge.clock import LearntClock
from access_edge.keys import DeviceKey, generate, main
from access_edge.settings import EdgeSettings
from platform_api.core import clock
from platform_api.core.settings import SettingsError, load


def test_good_settings_are_taken(edge_values: dict[str, Any]) -> None:
    settings = load(EdgeSettings, **edge_values)
    assert settings.centre_url == "https://centre.example"
    assert settings.edge_offline_limit_h == 36
    assert settings.edge_cache_members == 10_000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("centre_url", "http://centre.example"),
        ("centre_url", "centre"),
        ("edge_key_file", "no-such-file.pem"),
        ("edge_admin_key", "short"),
        ("edge_port", 70000),
        ("edge_cache_members", 0),
        ("edge_id", ""),
    ],
)
def test_a_wrong_setting_is_named(edge_values: dict[str, Any], name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=f"SMARTFIT_{name.upper()}"):
        load(EdgeSettings, **(edge_values | {name: value}))


@pytest.mark.parametrize("name", ["edge_id", "edge_state_dir", "centre_url", "gate_api_key", "edge_admin_key"])
def test_a_missing_setting_is_named(edge_values: dict[str, Any], name: str) -> None:
    del edge_values[name]
    with pytest.raises(SettingsError, match=f"SMARTFIT_{name.upper()}"):
        load(EdgeSettings, **edge_values)


def test_secrets_come_from_files_and_are_not_shown(
    edge_values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del edge_values["gate_api_key"]
    (tmp_path / "secret").write_text("the-secret\n")
    monkeypatch.setenv("SMARTFIT_GATE_API_KEY_FILE", str(tmp_path / "secret"))
    settings = load(EdgeSettings, **edge_values)
    assert settings.gate_api_key.get_secret_value() == "the-secret"
    assert "the-secret" not in repr(settings)


def test_beyond_this_machine_tls_is_needed(edge_values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="TLS"):
        load(EdgeSettings, **(edge_values | {"edge_host": "0.0.0.0"}))
    with pytest.raises(SettingsError, match="TLS"):
        load(EdgeSettings, **(edge_values | {"edge_tls_cert_file": edge_values["edge_key_file"]}))


def test_the_settings_load_no_model_before_gunicorn_forks() -> None:
    script = (
        "import sys, access_edge.settings; sys.exit(bool({'torch', 'cv2', 'onnxruntime', 'faiss'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_key_is_made_once_and_is_the_owners_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "keys" / "edge.pem"
    assert main([str(path)]) == 0
    printed = capsys.readouterr().out.strip()
    assert len(base64.b64decode(printed)) == 32
    assert path.stat().st_mode & 0o077 == 0
    assert generate(path) == printed
    assert main([]) == 2


def test_the_command_prints_the_public_part(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "access_edge.keys", str(tmp_path / "k.pem")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == DeviceKey("e1", tmp_path / "k.pem").public_key
    assert "PRIVATE" not in done.stdout


def test_an_assertion_names_the_node_and_lives_a_minute(tmp_path: Path) -> None:
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(generate(tmp_path / "k.pem")))
    key = DeviceKey("e1", tmp_path / "k.pem")
    now = datetime.now(UTC)
    claims = [
        jwt.decode(key.assertion(now), public, algorithms=["EdDSA"], audience="smartfit-access", issuer="e1")
        for _ in range(2)
    ]
    assert claims[0]["sub"] == "e1"
    assert claims[0]["exp"] - claims[0]["iat"] == 60
    assert claims[0]["jti"] != claims[1]["jti"]


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_file_that_is_no_key_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "k.pem").write_bytes(content)
    with pytest.raises(SettingsError, match="SMARTFIT_EDGE_KEY_FILE"):
        DeviceKey("e1", tmp_path / "k.pem")


def test_the_centres_time_is_learnt_and_small_differences_are_the_networks() -> None:
    learnt = LearntClock()
    sent, told = clock.elapsed(), clock.now()
    assert not learnt.learn(told + timedelta(seconds=1), sent, sent + 0.02)
    assert abs(learnt.offset) < timedelta(milliseconds=5)
    assert learnt.learn(told + timedelta(hours=1), sent, sent + 2)
    assert abs(learnt.offset - timedelta(minutes=59, seconds=59)) < timedelta(milliseconds=5)
    assert abs(learnt.now() - clock.now() - learnt.offset) < timedelta(seconds=1)
    # Set right again, the node follows.
    assert learnt.learn(told, sent, sent)
    assert abs(learnt.offset) < timedelta(milliseconds=5)


@pytest.mark.parametrize("hours", [-5, 30])
def test_a_clock_that_is_set_between_two_contacts_changes_nothing(hours: int) -> None:
    learnt = LearntClock()
    learnt.learn(clock.now(), clock.elapsed(), clock.elapsed())
    before = clock.now()
    with clock.jump(timedelta(hours=hours)):
        assert abs(learnt.now() - before) < timedelta(seconds=1)
        assert abs(learnt.offset - timedelta(hours=-hours)) < timedelta(seconds=1)
        with clock.travel(timedelta(hours=2)):
            assert abs(learnt.now() - before - timedelta(hours=2)) < timedelta(seconds=1)


def test_before_the_first_contact_it_is_not_earlier_than_the_last() -> None:
    last = clock.now()
    with clock.jump(timedelta(days=-365)):
        assert abs(LearntClock(timedelta(), not_before=last).now() - last) < timedelta(seconds=1)
    with clock.jump(timedelta(hours=3)):
        assert abs(LearntClock(timedelta(hours=-3), not_before=last).now() - last) < timedelta(seconds=1)
