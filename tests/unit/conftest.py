"""What several unit tests need."""

from pathlib import Path
from typing import Any

import pytest

from access_edge.keys import generate
from platform_api.core.encryption import KeyRing


@pytest.fixture
def edge_values(tmp_path: Path) -> dict[str, Any]:
    """Good settings of a gate node, with their files in place."""
    generate(tmp_path / "edge.pem")
    KeyRing.generate().to_file(tmp_path / "ring.json")
    return {
        "edge_id": "e1",
        "edge_state_dir": tmp_path / "state",
        "edge_key_file": tmp_path / "edge.pem",
        "edge_keyring_file": tmp_path / "ring.json",
        "edge_admin_key": "k" * 16,
        "centre_url": "https://centre.example/",
        "gate_api_key": "g",
    }
