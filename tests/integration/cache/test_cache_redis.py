"""The connection to Redis: TLS, passwords from files, settings that are wrong, and what is kept without it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.certificates import authority, server
from platform_api.core.cache import Away, KeptAnswers, RateLimit, SharedCache
from platform_api.core.cache.shared import CacheSettings, shared
from platform_api.core.settings import SettingsError, load
from tests.redis_world import RedisServer, installed


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[RedisServer, Path]]:
    """A Redis that speaks TLS alone and wants a password; its CA."""
    installed()
    ca = authority(tmp_path)
    certificate = server(tmp_path, "redis")
    made = RedisServer(
        tmp_path, "--port", "0", "--tls-port", "{port}", "--tls-cert-file", str(certificate.chain), "--tls-key-file", str(certificate.key),
        "--tls-ca-cert-file", str(ca.chain), "--tls-auth-clients", "no", "--requirepass", "of-the-test",
    )  # fmt: skip
    made.options = tuple(option.replace("{port}", str(made.port)) for option in made.options)
    made.start()
    yield made, ca.chain
    made.stop()


def test_tls_and_a_password_from_a_file(
    secured: tuple[RedisServer, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis, ca = secured
    (tmp_path / "url").write_text(f"rediss://127.0.0.1:{redis.port}/0\n")
    (tmp_path / "password").write_text("of-the-test\n")
    monkeypatch.setenv("SMARTFIT_REDIS_URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("SMARTFIT_REDIS_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv("SMARTFIT_REDIS_CA_FILE", str(ca))
    monkeypatch.setenv("SMARTFIT_REDIS_TIMEOUT_S", "2")
    assert SharedCache(load(CacheSettings)).ask("test", lambda redis: redis.ping())
    monkeypatch.setenv("SMARTFIT_REDIS_PASSWORD", "another")
    with pytest.raises(Away):
        SharedCache(load(CacheSettings)).ask("test", lambda redis: redis.ping())
    monkeypatch.delenv("SMARTFIT_REDIS_PASSWORD")
    another = tmp_path / "another"
    another.mkdir()
    monkeypatch.setenv("SMARTFIT_REDIS_CA_FILE", str(authority(another).chain))
    with pytest.raises(Away):
        SharedCache(load(CacheSettings)).ask("test", lambda redis: redis.ping())


@pytest.mark.parametrize("url", ["http://127.0.0.1", "redis://:secret@127.0.0.1:no-port/0"])
def test_a_wrong_address_stops_the_process_and_tells_no_password(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTFIT_REDIS_URL", url)
    shared.cache_clear()
    with pytest.raises(SettingsError, match="SMARTFIT_REDIS_URL") as told:
        shared()
    assert "secret" not in str(told.value)
    monkeypatch.delenv("SMARTFIT_REDIS_URL")
    assert shared() is None


def test_without_redis_a_process_limits_and_keeps_by_itself() -> None:
    limit = RateLimit("test", 5, None)
    waits = [limit.take("somebody") for _ in range(7)]
    assert waits[:5] == [0.0] * 5
    assert all(1 <= wait <= 120 for wait in waits[5:])
    assert limit.take("somebody else") == 0.0
    assert [RateLimit("none", 0, None).take("somebody") for _ in range(50)] == [0.0] * 50
    kept = KeptAnswers("test", 60, None)
    kept.put(b"answer", "who", "what")
    assert kept.get("who", "what") == b"answer"
    assert kept.get("who", "else") is None
    assert kept.get("whowhat") is None
    never = KeptAnswers("never", 0, None)
    never.put(b"answer", "what")
    assert never.get("what") is None


def test_a_dead_redis_is_asked_no_more_than_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed()
    redis = RedisServer(tmp_path)
    redis.start()
    monkeypatch.setenv("SMARTFIT_REDIS_URL", redis.url)
    cache = SharedCache(load(CacheSettings))
    assert cache.ask("test", lambda redis: redis.ping())
    redis.kill()
    asked = []

    def question(redis: object) -> None:
        asked.append(redis)
        cache.redis.ping()

    for _ in range(500):
        with pytest.raises(Away):
            cache.ask("test", question)
    assert 3 <= len(asked) < 20
