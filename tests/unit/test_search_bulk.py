"""Bulk writing that yields when the cluster is busy."""

from typing import Any

import pytest
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig
from elasticsearch import ApiError

from platform_api.search.engines import DocumentRefused, EngineUnavailable, bulk

META = {
    status: ApiResponseMeta(status, "1.1", HttpHeaders(), 0.01, NodeConfig("http", "localhost", 9200))
    for status in (200, 413, 429, 500)
}


class Cluster:
    """Takes bulk requests; `answers` are statuses of items by document, or a status for a whole request."""

    def __init__(self) -> None:
        self.requests: list[list[str]] = []
        self.stored: list[str] = []
        self.busy: dict[str, int] = {}
        self.refuse: dict[str, int] = {}
        self.whole: list[int] = []

    def bulk(self, operations: list[dict[str, Any]]) -> dict[str, Any]:
        actions = [line for line in operations if next(iter(line)) in ("index", "delete")]
        ids = [next(iter(action.values()))["_id"] for action in actions]
        self.requests.append(ids)
        if self.whole:
            status = self.whole.pop(0)
            raise ApiError("no", META[status], {})
        return {"items": [self._item(action) for action in actions]}

    def _item(self, action: dict[str, Any]) -> dict[str, Any]:
        kind, name = next(iter(action)), next(iter(action.values()))["_id"]
        status = self.refuse.get(name, 200)
        if self.busy.get(name, 0) > 0:
            self.busy[name] -= 1
            status = 429
        if status < 300:
            self.stored.append(name)
        return {kind: {"_id": name, "status": status, "error": {"reason": "because"}}}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster()
    cluster.waits = []  # type: ignore[attr-defined]
    monkeypatch.setattr(bulk.time, "sleep", cluster.waits.append)  # type: ignore[attr-defined]
    return cluster


def documents(*names: str, text: str = "") -> list[dict[str, Any]]:
    return [{"branch_id": name, "text": text} for name in names]


def send(cluster: Cluster, *names: str, **options: Any) -> None:
    bulk.Bulk(cluster, **options).send("index", documents(*names))  # type: ignore[arg-type]


def test_only_what_was_refused_is_sent_again_after_longer_and_longer_waits(cluster: Cluster) -> None:
    cluster.busy = {"b": 2}
    send(cluster, "a", "b", "c")
    assert cluster.requests == [["a", "b", "c"], ["b"], ["b"]]
    assert sorted(cluster.stored) == ["a", "b", "c"]
    assert len(cluster.waits) == 2  # type: ignore[attr-defined]
    assert cluster.waits[1] > cluster.waits[0] / 2  # type: ignore[attr-defined]


def test_requests_stay_below_their_bytes_and_shrink_when_refused(cluster: Cluster) -> None:
    sender = bulk.Bulk(cluster, 400_000)  # type: ignore[arg-type]
    cluster.whole = [413]
    sender.send("index", documents("a", "b", "c", text="x" * 150_000))
    assert cluster.requests == [["a", "b"], ["a"], ["b"], ["c"]]
    assert sender.most_bytes == 200_000
    assert sorted(cluster.stored) == ["a", "b", "c"]


def test_a_document_at_fault_is_named(cluster: Cluster) -> None:
    cluster.refuse = {"b": 400}
    with pytest.raises(DocumentRefused, match="b: because"):
        send(cluster, "a", "b")


def test_a_cluster_that_stays_busy_is_given_up_for_now(cluster: Cluster) -> None:
    cluster.busy = {"a": 99}
    with pytest.raises(EngineUnavailable):
        send(cluster, "a")


def test_deleting_what_is_not_there_is_no_fault(cluster: Cluster) -> None:
    cluster.refuse = {"gone": 404}
    bulk.Bulk(cluster).send("index", [], ["gone"])  # type: ignore[arg-type]


def test_other_errors_are_the_callers(cluster: Cluster) -> None:
    cluster.whole = [500]
    with pytest.raises(ApiError):
        send(cluster, "a")
