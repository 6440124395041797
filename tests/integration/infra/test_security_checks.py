"""The checks of the threat model and of secrets pass, and fail where they should."""

from pathlib import Path

import pytest

from infra.checks import security
from infra.checks.check import CheckFailed


def test_they_pass() -> None:
    ran = 0
    for check in security.checks():
        check.run()
        ran += 1
    assert ran > len(security.STRIDE) + 2


def test_a_mitigation_without_its_test_is_found() -> None:
    row = ["Spoofing", "a threat", "a mitigation"]
    for named in ("none", "`tests/conftest.py::test_nothing`", "`tests/unit/test_not_there.py::test_it`"):
        with pytest.raises(CheckFailed):
            security.check_threat([*row, named])
    with pytest.raises(CheckFailed, match="Repudiation"):
        security.check_kinds([[kind] for kind in security.STRIDE if kind != "Repudiation"])


def test_keys_are_found(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text(
        f"AWS = '{'AKIA' + 'ABCDEFGHIJKLMNOP'}'\n{'-----BEGIN RSA ' + 'PRIVATE KEY-----'}\npassword = 'x8Jq-vT2p-77Kd'\n"
    )
    kinds = {kind for _, kind, _ in security.scan(tmp_path, "--all-files", ".")}
    assert kinds >= {"AWS Access Key", "Private Key", "Secret Keyword"}
