"""The process that serves auth serves the documentation of all domains, wherever those are served."""

from flask.testing import FlaskClient

from platform_api.core.database import DOMAINS


def test_the_documentation_is_of_every_domain(client: FlaskClient) -> None:
    answer = client.get("/openapi.json")
    assert answer.status_code == 200
    served = {path.split("/")[1] for path in answer.get_json()["paths"]}
    assert set(DOMAINS) <= served
    # The rest is still not served here.
    assert client.get("/helper/v1/tasks").status_code == 404
