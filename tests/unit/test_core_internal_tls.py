"""Settings of TLS among the services: whole, or not at all."""

from pathlib import Path

import pytest

from platform_api.core.internal_tls import internal_tls
from platform_api.core.settings import SettingsError


def test_without_any_file_the_system_is_believed_and_nothing_shown() -> None:
    assert (internal_tls().verify, internal_tls().pair) == (True, None)


def test_the_authority_alone_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTFIT_INTERNAL_CA_FILE", "/ca.pem")
    assert (internal_tls().verify, internal_tls().pair) == ("/ca.pem", None)


@pytest.mark.parametrize("missing", ["CA", "CERT", "KEY"])
def test_a_part_that_is_missing_is_named(missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for part in {"CA", "CERT", "KEY"} - {missing}:
        monkeypatch.setenv(f"SMARTFIT_INTERNAL_{part}_FILE", str(tmp_path / part))
    if missing in ("CERT", "KEY"):
        with pytest.raises(SettingsError, match=f"SMARTFIT_INTERNAL_{missing}_FILE: 인증서"):
            internal_tls()
    else:
        with pytest.raises(SettingsError, match="SMARTFIT_INTERNAL_CA_FILE"):
            internal_tls()
