"""Calls to the centre: each signed with the node's key, each teaching the node the centre's time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

import numpy as np
import requests
import structlog
from numpy.typing import NDArray
from pydantic import ValidationError

from access_edge.clock import LearntClock
from access_edge.feed import RawPage
from access_edge.keys import DeviceKey
from access_edge.records import pack
from access_edge.settings import EdgeSettings
from ml_bentos.face.gallery import Candidate
from platform_api.core import clock as core_clock
from platform_api.core.http import Client, ServiceUnavailable, client

log = structlog.get_logger(__name__)

PREFIX = "/access/v1/edge"
CHUNK = 2**18


class CursorTooOld(Exception):
    """The feed no longer reaches back to the cursor: read it again from its beginning."""


class CentreRefuses(Exception):
    """The centre answered 4xx: sending the same again would not help."""

    def __init__(self, status: int, code: str) -> None:
        self.status = status
        self.code = code
        super().__init__(f"{status} {code}")


class Centre:
    """The access domain, as a gate node sees it. Safe to share between threads."""

    def __init__(self, settings: EdgeSettings, key: DeviceKey, clock: LearntClock) -> None:
        self._key = key
        self._clock = clock
        verify = settings.centre_verify
        url = settings.centre_url
        # The node has its own backoff for what waits; what a person waits for goes through a breaker.
        self._patient = client("centre", url, timeout=(3.0, 15.0), verify=verify, breaker=False)
        limit = settings.edge_identify_timeout_s
        self._quick = client("centre-identify", url, timeout=(limit, limit), verify=verify)

    def changes(self, cursor: str, limit: int) -> RawPage:
        """A page of the change feed.

        Raises:
            CursorTooOld, CentreRefuses, ServiceUnavailable: see there.
        """
        sent = core_clock.elapsed()
        answer = self._call(self._patient, "GET", "/changes", params={"cursor": cursor, "limit": limit})
        if answer.status_code == 410 or (answer.status_code == 400 and _problem(answer).get("code") == "bad_cursor"):
            raise CursorTooOld
        _raise_for_refusal(answer)
        try:
            page = RawPage.model_validate(answer.json())
            self._clock.learn(datetime.fromisoformat(page.now), sent, core_clock.elapsed())
        except (ValidationError, ValueError) as error:
            raise ServiceUnavailable("centre", "not a page of the feed") from error
        return page

    def send_entries(self, entries: list[dict[str, Any]]) -> dict[int, str]:
        """Hand over entries; the centre knows those it has by their ids.

        Returns:
            the code of its refusal by index, for entries that it does not take.

        Raises:
            CentreRefuses: none was taken. ServiceUnavailable: it is not known which were.
        """
        answer = self._call(self._patient, "POST", "/entries", json={"entries": entries})
        _raise_for_refusal(answer)
        try:
            document = answer.json()
            refused = {int(item["index"]): str(item["code"]) for item in document.get("errors") or []}
            if int(document["accepted"]) + int(document["duplicates"]) + len(refused) != len(entries):
                raise ValueError("the counts do not add up")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ServiceUnavailable("centre", "not an answer to entries") from error
        return refused

    def identify(self, vectors: NDArray[np.float32], model_version: str) -> tuple[list[Candidate], int]:
        """Candidates from the full gallery, best first, for float32[m, dim], and that gallery's size.

        Raises:
            CentreRefuses, ServiceUnavailable: see there.
        """
        body = {"vectors": pack(np.atleast_2d(vectors)), "model_version": model_version}
        answer = self._call(self._quick, "POST", "/identify", json=body)
        _raise_for_refusal(answer)
        try:
            document = answer.json()
            found = [Candidate(str(item["member_id"]), float(item["score"])) for item in document["candidates"]]
            return found, int(document["gallery_size"])
        except (ValueError, KeyError, TypeError) as error:
            raise ServiceUnavailable("centre", "not an answer to identify") from error

    def send_stranger(self, jpeg: bytes, entry_id: str, gate_id: str, at: str) -> None:
        """Hand over a stranger's frame for review. Raises CentreRefuses, ServiceUnavailable."""
        _raise_for_refusal(
            self._call(
                self._patient, "POST", "/strangers", data=jpeg,
                params={"entry_id": entry_id, "gate_id": gate_id, "at": at}, headers={"Content-Type": "image/jpeg"},
            )
        )  # fmt: skip

    def archive(self, version: str, start: int, sha256: str) -> tuple[int, Iterator[bytes]]:
        """The package of a model from byte `start` on, in chunks, and where they really begin (0: it was made anew).

        Raises:
            CentreRefuses, ServiceUnavailable: see there; the latter from the iterator too, where the line is cut.
        """
        headers = {"Range": f"bytes={start}-", "If-Range": f'"{sha256}"'} if start else {}
        path = f"/models/{quote(version, safe='')}/archive"
        answer = self._call(self._patient, "GET", path, headers={**headers, "Accept-Encoding": "identity"}, stream=True)
        _raise_for_refusal(answer)
        return (start if answer.status_code == 206 else 0), _chunks(answer)

    def send_model_reports(self, reports: list[dict[str, Any]]) -> None:
        """Hand over reports on models; the centre knows those it has by their ids. Raises CentreRefuses, ServiceUnavailable."""
        _raise_for_refusal(self._call(self._patient, "POST", "/model-reports", json={"reports": reports}))

    def _call(self, http: Client, method: str, path: str, **options: Any) -> requests.Response:
        """Call once, and once more where the centre says that this node's clock is wrong, with the time it tells."""
        headers = options.pop("headers", {})
        for last in (False, True):
            sent = core_clock.elapsed()
            bearer = {"Authorization": f"Bearer {self._key.assertion(self._clock.now())}"}
            answer = http.request(method, PREFIX + path, headers={**headers, **bearer}, **options)
            if answer.status_code != 401 or last:
                break
            told = _problem(answer).get("server_time")
            try:
                moment = datetime.fromisoformat(str(told))
                # A time without an offset would be taken for local time.
                if moment.tzinfo is None:
                    break
            except ValueError:
                break
            if self._clock.learn(moment, sent, core_clock.elapsed()):
                log.warning("clock_offset_learnt", seconds=self._clock.offset.total_seconds())
        return answer


def _chunks(answer: requests.Response) -> Iterator[bytes]:
    try:
        with answer:
            yield from answer.iter_content(CHUNK)
    except requests.RequestException as error:
        raise ServiceUnavailable("centre", type(error).__name__) from error


def _raise_for_refusal(answer: requests.Response) -> None:
    if answer.status_code >= 300:
        raise CentreRefuses(answer.status_code, str(_problem(answer).get("code", "unknown")))


def _problem(answer: requests.Response) -> dict[str, Any]:
    try:
        document = answer.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
