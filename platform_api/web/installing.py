"""What makes the pages an app on a phone: the manifest, the service worker, and what is shown without a network."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, g, jsonify, url_for

from platform_api.web import assets
from platform_api.web.languages import say
from platform_api.web.navigation import BY_ROLE
from platform_api.web.pages import show
from platform_api.web.signin import person

KEPT = (
    "app.css", "vendor/pico-2.1.1.min.css", "app.js", "vendor/htmx-2.0.11.min.js", "vendor/lucide-1.62.0.svg",
    "icon-192.png",
)  # fmt: skip
SHORTCUTS = 4
"""As many as phones show."""

blueprint = Blueprint("installing", __name__)


@blueprint.get("/app/offline")
def offline() -> Response:
    """What the phone shows without a network; kept by the service worker, so it is nobody's own."""
    g.pop("person", None)
    return show("offline.html")


@blueprint.get("/app/manifest.webmanifest")
def manifest() -> Response:
    """What a phone needs to install the pages (W3C Web Application Manifest): in the language of whoever asks, and with the
    pages of their role behind a long press on the icon."""
    answer = jsonify(
        id="/app/", name="Smart Fitness", short_name="SmartFit", lang=say("ko", "en"), dir="ltr",
        description=say("24시간 무인 헬스장", "24-hour gyms with nobody at the desk"),
        start_url="/app/", scope="/app/", display="standalone", background_color="#11191f", theme_color="#11191f",
        categories=["fitness", "health"], shortcuts=_shortcuts(),
        icons=[_icon(size, purpose) for purpose in ("any", "maskable") for size in (192, 512)],
    )  # fmt: skip
    answer.headers["Content-Type"] = "application/manifest+json"
    return answer


@blueprint.get("/app/sw.js")
def service_worker() -> Response:
    """The service worker; its name is fixed, so it is asked for anew each time, and knows the release it belongs to."""
    kept = [url_for("installing.offline"), *map(assets.url, KEPT)]
    script = assets.content("sw.js").decode()
    for name, value in (
        ('"{{release}}"', f'"{assets.release()}"'),
        ('"{{kept}}"', ", ".join(f'"{url}"' for url in kept)),
        ('"{{icon}}"', f'"{assets.url("icon-192.png")}"'),
        ('"{{badge}}"', f'"{assets.url("badge-96.png")}"'),
    ):
        script = script.replace(name, value)
    answer = Response(script, content_type="text/javascript; charset=utf-8")
    answer.headers["Cache-Control"] = "no-cache"
    answer.headers["Service-Worker-Allowed"] = "/app/"
    return answer


def _icon(size: int, purpose: str) -> dict[str, str]:
    """A picture that keeps clear of its edge, so that it may be cut round as well."""
    return {
        "src": assets.url(f"icon-{size}.png"), "sizes": f"{size}x{size}", "type": "image/png", "purpose": purpose,
    }  # fmt: skip


def _shortcuts() -> list[dict[str, Any]]:
    found = person()
    pages = next((pages for role, pages in BY_ROLE if found and found.has(role)), ())
    icon = {"src": assets.url("icon-192.png"), "sizes": "192x192", "type": "image/png"}
    return [{"name": page.text, "url": page.url, "icons": [icon]} for page in pages[:SHORTCUTS]]
