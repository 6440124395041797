"""Bulk writing that yields when the cluster is busy.

A cluster under load refuses single items with 429 (its write queue is full). Those, and only those, are sent again
after a wait that doubles each time; meanwhile nothing else is sent, so the producer slows down to what the cluster
can take. Requests are kept below a number of bytes, which halves when a request as a whole is refused.
"""

import json
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

import structlog
from elasticsearch import ApiError, Elasticsearch

from platform_api.search.engines import DocumentRefused, EngineUnavailable

log = structlog.get_logger(__name__)

_ATTEMPTS = 8
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 10.0
_SMALLEST = 100_000

Action = tuple[dict[str, Any], dict[str, Any] | None]


class Bulk:
    """Sends documents to an index in requests of at most `most_bytes`."""

    def __init__(self, client: Elasticsearch, most_bytes: int = 5_000_000) -> None:
        self.client = client
        self.most_bytes = most_bytes

    def send(self, index: str, documents: Sequence[dict[str, Any]], delete: Sequence[str] = ()) -> None:
        """Put documents (by their `branch_id`) and delete others.

        Raises:
            DocumentRefused: a document is at fault.
            EngineUnavailable: the cluster is still busy after all attempts.
            elasticsearch.ApiError: the cluster refuses the request.
        """
        actions: list[Action] = [({"delete": {"_index": index, "_id": branch_id}}, None) for branch_id in delete]
        actions += [({"index": {"_index": index, "_id": document["branch_id"]}}, document) for document in documents]
        waiting = list(self._chunks(actions))
        attempt = 0
        while waiting:
            chunk = waiting.pop(0)
            again, whole = self._request(chunk)
            if not again:
                attempt = 0
                continue
            attempt += 1
            if attempt >= _ATTEMPTS:
                raise EngineUnavailable(f"{index}: {len(again)} documents still refused after {attempt} attempts")
            if whole:
                self.most_bytes = max(_SMALLEST, self.most_bytes // 2)
            wait = min(_FIRST_WAIT_S * 2**attempt, _LONGEST_WAIT_S) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
            log.warning("bulk_waits", index=index, documents=len(again), seconds=round(wait, 2))
            time.sleep(wait)
            waiting = [*self._chunks(again), *waiting]

    def _chunks(self, actions: Sequence[Action]) -> Iterator[list[Action]]:
        chunk: list[Action] = []
        size = 0
        for action in actions:
            weight = len(json.dumps(action, ensure_ascii=False).encode())
            if chunk and size + weight > self.most_bytes:
                yield chunk
                chunk, size = [], 0
            chunk.append(action)
            size += weight
        if chunk:
            yield chunk

    def _request(self, chunk: list[Action]) -> tuple[list[Action], bool]:
        """Actions to send again, and whether the request as a whole was refused."""
        lines = [line for action in chunk for line in action if line is not None]
        try:
            answer = self.client.bulk(operations=lines)
        except ApiError as error:
            if error.meta.status in (413, 429):
                return chunk, True
            raise
        again, faults = [], []
        for action, item in zip(chunk, answer["items"], strict=True):
            kind, outcome = next(iter(item.items()))
            status = outcome["status"]
            if status == 429:
                again.append(action)
            elif status >= 300 and not (kind == "delete" and status == 404):
                faults.append(f"{outcome['_id']}: {outcome.get('error', {}).get('reason', status)}")
        if faults:
            raise DocumentRefused("; ".join(faults[:5])[:500])
        return again, False
