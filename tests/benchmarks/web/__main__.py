"""`python -m tests.benchmarks.web`: how long the pages of the web clients take at the server, and what they weigh.

A whole installation with branches, equipment and people; each page of each role is asked for again and again by one browser's
worth of connections, through the gateway. The limit in the same run is a page that asks no domain anything (the offline page).
Prints a table and writes build/bench/web.json.
"""

from __future__ import annotations

import gzip
import re
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import requests

from infra.local import environment
from infra.local.credentials import OPERATOR_EMAIL, Credentials
from infra.local.demo.client import Account, Http, Platform
from infra.local.state import State
from tests.benchmarks.web.report import tables
from tests.local_world import installation
from tests.results import save, sized, table

PORT_BASE = 27640
P95_MS, KB = 100.0, 150.0
BAR = f"every page answers at the server within {P95_MS:g} ms (P95) and weighs less than {KB:g} kB before photos"
LIMIT = "/app/offline"
LINK = re.compile(r'<nav class="bar".*?</nav>', re.S)
FILE = re.compile(r'(?:href|src)="(/app/static/[^"#]+\.(?:css|js))"')


class World:
    """The installation, and somebody signed in to its pages in each role."""

    def __init__(self, state: State) -> None:
        held = Credentials(state.secrets)
        self.url, self.ca = environment.gateway_url(state), str(state.tls / "ca.pem")
        self.http = Http(self.url, Path(self.ca))
        self.operator = Account("", OPERATOR_EMAIL, held.operator_password.read_text())
        self.platform = Platform(self.http, self.operator.email, self.operator.password)

    def seed(self, branches: int, items: int) -> Account:
        """Branches with equipment. The account of somebody who is a customer, a helper and a manager of all of them."""
        ids = [f"bench-{secrets.token_hex(3)}-{number}" for number in range(branches)]
        for number, branch_id in enumerate(ids):
            self._post(
                "/branch/v1/branches",
                {
                    "branch_id": branch_id, "name": f"벤치 {number}호점", "address": f"서울 성동구 성수동 {number}", "region": "성동구",
                    "latitude": 37.5 + number / 500, "longitude": 127.0 + number / 400, "amenities": ["shower"], "status": "open",
                },
            )  # fmt: skip
        account = self.platform.register("김벤치", "bench")
        member = f"/auth/v1/members/{account.member_id}"
        etag = self.http.send("GET", member, self.platform.operator()).headers["ETag"]
        roles = {"roles": ["customer", "helper", "branch_manager"], "branch_ids": [*ids, "local"]}
        self.http.json("PUT", f"{member}/roles", self.platform.operator(), json=roles, headers={"If-Match": etag})
        for number in range(items):
            item = {"branch_id": ids[number % branches], "name": f"러닝머신 {number}", "kind": "treadmill"}
            self._post("/monitoring/v1/equipment", item)
        return account

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        headers = {"Idempotency-Key": secrets.token_hex(8)}
        return self.http.json("POST", path, self.platform.operator(), json=body, headers=headers)

    def browser(self, account: Account) -> requests.Session:
        """A session with the cookies of somebody who has signed in by the form."""
        session = requests.Session()
        session.trust_env, session.verify = False, self.ca
        said = {"email": account.email, "password": account.password}
        answer = session.post(f"{self.url}/app/login", data=said, headers={"Sec-Fetch-Site": "same-origin"}, timeout=20)
        if not session.cookies or not answer.ok:
            sys.exit(f"cannot sign in: {answer.status_code}")
        return session


def pages_of(session: requests.Session, url: str, starts: tuple[str, ...]) -> list[str]:
    """Every page that the bars of these pages lead to."""
    found: list[str] = []
    for start in starts:
        bar = LINK.search(session.get(url + start, timeout=20).text)
        found += re.findall(r'href="(/app/(?!static/)[^"]*)"', bar.group()) if bar else [start]
    return list(dict.fromkeys(found))


def asked(session: requests.Session, address: str, rounds: int) -> list[float]:
    """Milliseconds from the request to the whole answer, after three that warm up."""
    spent = []
    for number in range(rounds + 3):
        started = time.perf_counter()
        answer = session.get(address, timeout=20)
        if answer.status_code != 200:
            sys.exit(f"{address}: {answer.status_code}")
        if number >= 3:
            spent.append((time.perf_counter() - started) * 1000)
    return spent


def weight_kb(session: requests.Session, url: str, path: str) -> float:
    """What a browser that has nothing yet loads before photos: the page, its styles and scripts, compressed."""
    page = session.get(url + path, timeout=20).text
    bodies = [page.encode(), *(session.get(url + name, timeout=20).content for name in set(FILE.findall(page)))]
    return sum(len(gzip.compress(body, 6)) for body in bodies) / 1000


def figures(world: World, person: Account, rounds: int) -> dict[str, Any]:
    """All figures, by page."""
    own, operators = world.browser(person), world.browser(world.operator)
    chosen = [
        *((own, path) for path in pages_of(own, world.url, ("/app/pass", "/app/work", "/app/manage/queue"))),
        (own, "/app/find?q=성수동 샤워"),
        *((operators, path) for path in pages_of(operators, world.url, ("/app/ops/fleet",))),
    ]
    rows = {}
    for session, path in [(own, LIMIT), *chosen]:
        spent = asked(session, world.url + path, rounds)
        rows[path] = {
            "p50_ms": round(float(np.percentile(spent, 50)), 1),
            "p95_ms": round(float(np.percentile(spent, 95)), 1),
            "kb": round(weight_kb(session, world.url, path), 1),
        }
        print(f"  {path}: {rows[path]}", file=sys.stderr)
    limit = rows.pop(LIMIT)
    return {
        "pages": rows,
        "limit": {"page": LIMIT, **limit},
        "p95_ms_max": max(row["p95_ms"] for row in rows.values()),
        "kb_max": max(row["kb"] for row in rows.values()),
        "rounds": rounds,
    }


@contextmanager
def _installation(running: str | None) -> Iterator[State]:
    if running:
        yield State(Path(running))
    else:
        with installation(PORT_BASE) as made:
            yield made


@click.command()
@click.option("--branches", default=sized(2, 50), show_default=True)
@click.option("--items", default=sized(4, 100), show_default=True, help="Equipment, over all branches.")
@click.option("--rounds", default=sized(3, 100), show_default=True, help="How often each page is asked for.")
@click.option("--state", help="Of an installation that runs; without, one is made for this.")
def main(branches: int, items: int, rounds: int, state: str | None) -> None:
    """See the module."""
    with _installation(state) as running:
        world = World(running)
        report = figures(world, world.seed(branches, items), rounds)
    report |= {"branches": branches, "items": items}
    for title, rows in tables(report):
        table(title, rows)
    save("bench", "web", report, bar=BAR, holds=report["p95_ms_max"] < P95_MS and report["kb_max"] < KB)


if __name__ == "__main__":
    main()
