"""Settings are loud at start, errors have one shape."""

from http import HTTPStatus
from pathlib import Path

import pytest
from flask import Flask, abort

from platform_api.core.errors import Problem, register_error_handlers
from platform_api.core.settings import Settings, SettingsError, load, read_variable


class Sample(Settings):
    port_count: int
    api_secret: str


def test_each_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTFIT_PORT_COUNT", "many")
    monkeypatch.delenv("SMARTFIT_API_SECRET", raising=False)
    with pytest.raises(SettingsError) as caught:
        load(Sample)
    assert "SMARTFIT_PORT_COUNT" in str(caught.value)
    assert "SMARTFIT_API_SECRET" in str(caught.value)


def test_secret_comes_from_file_and_the_variable_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-file\n")
    monkeypatch.setenv("SMARTFIT_PORT_COUNT", "3")
    monkeypatch.setenv("SMARTFIT_API_SECRET_FILE", str(tmp_path / "secret"))
    assert load(Sample).api_secret == "from-file"
    monkeypatch.setenv("SMARTFIT_API_SECRET", "from-variable")
    assert load(Sample).api_secret == "from-variable"


def test_unreadable_secret_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SMARTFIT_API_SECRET_FILE", str(tmp_path / "absent"))
    with pytest.raises(SettingsError, match="SMARTFIT_API_SECRET_FILE"):
        read_variable("SMARTFIT_API_SECRET")


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)
    register_error_handlers(app)
    app.config["PROPAGATE_EXCEPTIONS"] = False

    @app.get("/declined")
    def declined() -> str:
        raise Problem(422, "card_declined", "카드가 거절되었습니다.", "The card was declined.", hint="other card")

    @app.get("/broken")
    def broken() -> str:
        raise RuntimeError("secret inner detail")

    @app.get("/gone")
    def gone() -> str:
        abort(404)

    return app


def test_problem_is_rfc_9457_in_korean_and_english(app: Flask) -> None:
    answer = app.test_client().get("/declined")
    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    assert answer.json == {
        "type": "urn:smartfitness:problem:card_declined",
        "title": HTTPStatus(422).phrase,
        "status": 422,
        "code": "card_declined",
        "detail": "카드가 거절되었습니다.",
        "detail_en": "The card was declined.",
        "instance": "/declined",
        "hint": "other card",
    }


@pytest.mark.parametrize(("path", "status", "code"), [("/gone", 404, "not_found"), ("/nowhere", 404, "not_found")])
def test_framework_errors_have_the_same_shape(app: Flask, path: str, status: int, code: str) -> None:
    answer = app.test_client().get(path)
    assert (answer.status_code, answer.json["code"], answer.content_type) == (status, code, "application/problem+json")


def test_wrong_method_tells_what_is_allowed(app: Flask) -> None:
    answer = app.test_client().post("/gone")
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]


def test_unexpected_errors_tell_the_caller_nothing(app: Flask) -> None:
    answer = app.test_client().get("/broken")
    assert answer.status_code == 500
    assert "secret inner detail" not in answer.text
