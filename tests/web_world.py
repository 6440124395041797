"""The web clients as people use them: a whole local installation, Debian's Chromium, a camera fed from real photographs."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import requests
from axe_playwright_python.base import AXE_FILE_PATH
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import Browser, BrowserContext, Page, Playwright

from infra.local import environment
from infra.local.credentials import OPERATOR_EMAIL, Credentials
from infra.local.demo.client import Account, Http, Platform
from infra.local.services import ROOT
from infra.local.state import State

CHROMIUM = "/usr/bin/chromium"
SHOTS = ROOT / "build" / "web"
WIDTHS = (360, 1280)
LANGUAGES = {"ko": "ko-KR", "en": "en-US"}
MOST_BYTES = 150_000
"""A page before photos, as it comes over the network."""
FRAME = (640, 480)
_QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip


def camera_file(folder: Path, photos: Sequence[Path]) -> Path:
    """What a camera sees that looks at these photos, one after the other in a loop: MJPEG of 640 x 480 pixels."""
    made = folder / f"{hashlib.sha256(' '.join(map(str, photos)).encode()).hexdigest()[:16]}.mjpeg"
    if not made.exists():
        made.write_bytes(b"".join(_frame(photo) * 15 for photo in photos))
    return made


def _frame(photo: Path) -> bytes:
    width, height = FRAME
    picture = cv2.imdecode(np.frombuffer(photo.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None, photo
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
    frame = np.full((height, width, 3), 96, np.uint8)
    x, y = (width - size[0]) // 2, (height - size[1]) // 2
    frame[y : y + size[1], x : x + size[0]] = picture
    return cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()


@dataclass
class Seen:
    """What a page did while it was shown."""

    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    received: dict[str, int] = field(default_factory=dict)


class WebWorld:
    """The installation, its people, and browsers."""

    def __init__(self, state: State, playwright: Playwright, folder: Path, url: str) -> None:
        self.state, self.held, self.folder = state, Credentials(state.secrets), folder
        self.playwright = playwright
        self.url, self.edge_url = url, environment.edge_url(state)
        self.http = Http(environment.gateway_url(state), state.tls / "ca.pem")
        self.platform = Platform(self.http, OPERATOR_EMAIL, self.held.operator_password.read_text())
        self.provision: dict[str, Any] = json.loads(self.held.provision.read_text())
        self._browsers: dict[tuple[Path | None, bool], Browser] = {}

    # The platform, by its public API.

    def api(self, method: str, path: str, token: str | None = None, **options: Any) -> Any:
        """The JSON of an answer, asked as the operator where no token is given."""
        headers = {"Idempotency-Key": secrets.token_hex(8)} if method == "POST" else {}
        headers |= options.pop("headers", {})
        return self.http.json(method, path, token or self.platform.operator(), headers=headers, **options)

    def person(self, name: str, *roles: str, branch_ids: Sequence[str] = ()) -> Account:
        """A new member with these roles beside that of a customer; managers run `branch_ids`."""
        account = self.platform.register(name, "web")
        if roles:
            path = f"/auth/v1/members/{account.member_id}"
            etag = self.http.send("GET", path, self.platform.operator()).headers["ETag"]
            wanted = {"roles": ["customer", *roles], "branch_ids": list(branch_ids)}
            self.api("PUT", f"{path}/roles", json=wanted, headers={"If-Match": etag})
        return account

    def token(self, account: Account) -> str:
        """An access token of theirs."""
        return self.platform.sign_in(account.email, account.password)[0]

    def membership(self, account: Account, branch_id: str = "local") -> None:
        """The right to enter a branch, for a year."""
        today = datetime.now(UTC)
        span = [(today + timedelta(days=days)).strftime("%Y-%m-%d") for days in (-1, 365)]
        self.platform.give_membership(account, branch_id, *span)

    def branch(self, branch_id: str, name: str, **more: Any) -> None:
        """A branch that is open."""
        wanted = {
            "branch_id": branch_id, "name": name, "address": "서울 성동구 성수동2가 1", "region": "성동구",
            "latitude": 37.5446, "longitude": 127.0559, "amenities": ["shower", "parking"], "status": "open", **more,
        }  # fmt: skip
        self.api("POST", "/branch/v1/branches", json=wanted)

    def sandbox(self, name: str, key: Path, method: str, path: str, **options: Any) -> Any:
        """The JSON of a sandbox's answer."""
        headers = {"Authorization": f"Bearer {key.read_text()}"}
        with requests.Session() as session:
            session.trust_env = False
            url = environment.sandbox_url(self.state, name) + path
            answer = session.request(method, url, headers=headers, verify=self.http.ca, timeout=20, **options)
        answer.raise_for_status()
        return answer.json()

    # Browsers.

    def browser(self, camera: Sequence[Path] | None = None, *, refused: bool = False) -> Browser:
        """Chromium whose camera looks at these photos; without any, there is no camera. refused: its owner lets no page use it."""
        film = camera_file(self.folder, camera) if camera else None
        if (film, refused) not in self._browsers:
            options = [*_QUIET, f"--ignore-certificate-errors-spki-list={','.join(self._known_keys())}"]
            if film:
                options += [
                    "--deny-permission-prompts" if refused else "--use-fake-ui-for-media-stream",
                    "--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={film}",
                ]  # fmt: skip
            self._browsers[film, refused] = self.playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        return self._browsers[film, refused]

    @contextmanager
    def context(
        self,
        camera: Sequence[Path] | None = None,
        *,
        refused: bool = False,
        language: str = "ko",
        width: int = 360,
        **more: Any,
    ) -> Iterator[BrowserContext]:
        """A person's browser with nothing in it."""
        made = self.browser(camera, refused=refused).new_context(
            locale=LANGUAGES[language], viewport={"width": width, "height": 740 if width < 600 else 800}, **more
        )
        made.set_default_timeout(20_000)
        try:
            yield made
        finally:
            made.close()

    @contextmanager
    def page(self, account: Account | None = None, path: str | None = None, **options: Any) -> Iterator[Page]:
        """A page of somebody who is signed in (by the form), at `path`."""
        with self.context(**options) as context:
            page = context.new_page()
            if account is not None:
                self.log_in(page, account)
            if path:
                page.goto(self.url + path)
            yield page

    def operator_account(self) -> Account:
        """The first operator."""
        return Account("operator", OPERATOR_EMAIL, self.held.operator_password.read_text())

    def log_in(self, page: Page, account: Account) -> None:
        """By the form, as a person does."""
        page.goto(f"{self.url}/app/login")
        page.fill("#f-email", account.email)
        page.fill("#f-password", account.password)
        page.click("main button[type=submit]")
        page.wait_for_url(lambda url: "/app/login" not in url)

    def close(self) -> None:
        """End all browsers."""
        for browser in self._browsers.values():
            browser.close()

    def _known_keys(self) -> list[str]:
        """The servers' keys: their authority is this installation's own, which no browser knows."""
        found = []
        for name in ("gateway", "edge"):
            certificate = x509.load_pem_x509_certificate((self.state.tls / f"{name}.pem").read_bytes())
            spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            found.append(base64.b64encode(hashlib.sha256(spki).digest()).decode())
        return found


def watch(page: Page, *ours: str) -> Seen:
    """Note what goes wrong on a page, what it loads from elsewhere, and how much it receives."""
    seen = Seen()
    page.on("console", lambda message: seen.errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    # Each page weighs what it weighs for somebody who comes to it first.
    session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    urls: dict[str, str] = {}

    def sent(event: dict[str, Any]) -> None:
        url = event["request"]["url"]
        urls[event["requestId"]] = url
        if not url.startswith((*ours, "data:", "blob:", "about:")):
            seen.foreign.append(url)

    def finished(event: dict[str, Any]) -> None:
        url = urls.get(event["requestId"], "")
        seen.received[url] = seen.received.get(url, 0) + int(event["encodedDataLength"])

    session.on("Network.requestWillBeSent", sent)
    session.on("Network.loadingFinished", finished)
    return seen


def check_page(world: WebWorld, account: Account | None, path: str, name: str, base: str | None = None) -> None:
    """What holds of every page, in both languages, on a phone and on a desk: it keeps within the screen and the weight, loads
    nothing from elsewhere, makes no error, can be used with a screen reader. A picture of each goes to build/web."""
    base = base or world.url
    SHOTS.mkdir(parents=True, exist_ok=True)
    for language in LANGUAGES:
        # What a service worker fetches is not seen among what the page receives.
        with world.page(account, language=language, width=WIDTHS[0], service_workers="block") as page:
            seen = watch(page, base)
            answer = page.goto(base + path)
            assert answer is not None
            assert answer.status < 400, (path, answer.status)
            page.wait_for_load_state("load")
            assert page.locator("html").get_attribute("lang") == language
            weight = sum(size for url, size in seen.received.items() if "/photos/" not in url)
            assert 0 < weight < MOST_BYTES, (path, weight, seen.received)
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 740 if width < 600 else 800})
                page.wait_for_timeout(100)
                wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                assert wide <= 0, f"{path} {language} {width}: {wide} px too wide"
                page.screenshot(path=SHOTS / f"{name}.{language}.{width}.png", full_page=True)
                assert accessibility_faults(page) == [], f"{path} {language} {width}"
            assert seen.errors == [], path
            assert seen.foreign == [], path


def accessibility_faults(page: Page) -> list[str]:
    """What axe finds that is serious or critical."""
    if not page.evaluate("typeof window.axe === 'object'"):
        # By the debugger, past the page's own policy for scripts.
        session = page.context.new_cdp_session(page)
        session.send("Runtime.evaluate", {"expression": Path(AXE_FILE_PATH).read_text(encoding="utf-8")})
        session.detach()
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{each['id']}: {each['help']}: {[node['html'][:160] for node in each['nodes'][:3]]}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]
