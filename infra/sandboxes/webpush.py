"""A push service of the web (RFC 8030), and the browser behind it. `python -m infra.sandboxes.webpush --port P ...`

POST /sandbox/subscriptions {"key": the sender's public key} makes a subscription as PushManager.subscribe does; its private
key stays here, so that what arrives can be read. A message is taken as by the real thing: named by VAPID (RFC 8292) with
the key of the subscription, with a TTL, in aes128gcm (RFC 8291), no more than 4096 bytes.

POST /sandbox/subscriptions/ID {"status", "retry_after_s"} says how the next messages to it are answered (201: well; 404, 410
where it is gone, 413, 429, 5xx). What was taken stands, decrypted, at /sandbox/messages?after=POSITION.
"""

import base64
import json
import os
import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask import Flask, Response, jsonify, request
from pydantic import BaseModel, ConfigDict, Field

from infra.sandboxes.server import Recent, Refusal, arguments, body, sandbox_app, serve
from infra.sandboxes.webpush_sender import Denied, admit

MOST_BYTES = 4096
LONGEST_TTL_S = 28 * 86400
SUBSCRIPTIONS = MESSAGES = 10_000
_URGENCIES = {"very-low", "low", "normal", "high"}


class NewSubscription(BaseModel):
    """For whose messages: the public key of their sender, base64url; None takes anybody's."""

    model_config = ConfigDict(extra="forbid")

    key: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{87}$")


class Behaviour(BaseModel):
    """How messages to a subscription are answered from now on."""

    model_config = ConfigDict(extra="forbid")

    status: int = Field(default=201, ge=201, le=599)
    retry_after_s: int | None = Field(default=None, ge=0, le=3600)


@dataclass
class Subscription:
    """A browser's, with what only the browser knows."""

    key: str | None
    name: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    auth: bytes = field(default_factory=lambda: os.urandom(16))
    behaviour: Behaviour = field(default_factory=Behaviour)

    def shown(self, base: str) -> dict[str, Any]:
        """As PushSubscription.toJSON() has it."""
        point = self.private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        keys = {"p256dh": _text(point), "auth": _text(self.auth)}
        return {"endpoint": f"{base}push/{self.name}", "expirationTime": None, "keys": keys}

    def read(self, sealed: bytes) -> Any:
        """What a message says. Raises http_ece.ECEException or ValueError where it is not for this browser."""
        plain = http_ece.decrypt(sealed, private_key=self.private, auth_secret=self.auth, version="aes128gcm")
        return json.loads(plain)


class Inbox:
    """The messages taken, oldest first, in bounded memory."""

    def __init__(self) -> None:
        self._messages: deque[dict[str, Any]] = deque(maxlen=MESSAGES)
        self._position = 0
        self._lock = threading.Lock()

    def add(self, **message: Any) -> None:
        """Keep one."""
        with self._lock:
            self._position += 1
            self._messages.append({"position": self._position, "received_at": time.time(), **message})

    def after(self, position: int) -> list[dict[str, Any]]:
        """Those after `position`."""
        with self._lock:
            return [kept for kept in self._messages if kept["position"] > position]

    def clear(self) -> None:
        """Forget all; positions go on."""
        with self._lock:
            self._messages.clear()


def create_app(api_key: str) -> Flask:
    """The sandbox's app."""
    app, log = sandbox_app("webpush", api_key, own_authorization=True)
    subscriptions: Recent[Subscription] = Recent(SUBSCRIPTIONS)
    inbox = Inbox()

    def found(name: str) -> Subscription:
        subscription = subscriptions.get(name)
        if subscription is None:
            raise Refusal(404, "not_found", "no such subscription")
        return subscription

    @app.post("/push/<name>")
    def push(name: str) -> Response:
        subscription = found(name)
        behaviour = subscription.behaviour
        if behaviour.status != 201:
            log.add(outcome=behaviour.status)
            answer = Response(status=behaviour.status)
            if behaviour.retry_after_s is not None:
                answer.headers["Retry-After"] = str(behaviour.retry_after_s)
            return answer
        try:
            claims = admit(request.headers.get("Authorization", ""), request.host_url.rstrip("/"), subscription.key)
        except Denied as denied:
            log.add(outcome=denied.status, why=str(denied))
            raise Refusal(denied.status, "unauthorized", str(denied)) from None
        message, sealed = _headers(), request.get_data()
        if len(sealed) > MOST_BYTES:
            raise Refusal(413, "payload_too_large", f"more than {MOST_BYTES} bytes")
        try:
            said = subscription.read(sealed)
        except (http_ece.ECEException, ValueError) as error:
            # A real service sees nothing of it; the browser behind this one does.
            raise Refusal(400, "undecipherable", f"not for this browser: {type(error).__name__}") from None
        inbox.add(subscription=name, said=said, subject=claims["sub"], bytes=len(sealed), **message)
        taken = Response(status=201)
        taken.headers["Location"] = f"{request.host_url}message/{secrets.token_hex(12)}"
        taken.headers["TTL"] = str(message["ttl_s"])
        return taken

    @app.post("/sandbox/subscriptions")
    def subscribe() -> tuple[Response, int]:
        made = Subscription(body(NewSubscription).key)
        subscriptions.put(made.name, made)
        return jsonify(name=made.name, subscription=made.shown(request.host_url)), 201

    @app.post("/sandbox/subscriptions/<name>")
    def behave(name: str) -> Response:
        subscription = found(name)
        subscription.behaviour = body(Behaviour)
        return jsonify(subscription.behaviour.model_dump())

    @app.get("/sandbox/messages")
    def messages() -> Response:
        return jsonify(messages=inbox.after(request.args.get("after", 0, int)))

    @app.delete("/sandbox/messages")
    def forget() -> tuple[str, int]:
        inbox.clear()
        return "", 204

    return app


def _headers() -> dict[str, Any]:
    """What the headers of a message say. Raises Refusal 400 as RFC 8030 has it."""
    ttl, urgency = request.headers.get("TTL", ""), request.headers.get("Urgency", "normal")
    topic = request.headers.get("Topic")
    if not ttl.isdigit() or int(ttl) > LONGEST_TTL_S:
        raise Refusal(400, "ttl", "TTL: seconds (RFC 8030, section 5.2)")
    if urgency not in _URGENCIES:
        raise Refusal(400, "urgency", "Urgency: very-low, low, normal or high")
    if topic is not None and (len(topic) > 32 or not topic.replace("-", "a").replace("_", "a").isalnum()):
        raise Refusal(400, "topic", "Topic: at most 32 characters of base64url")
    if request.headers.get("Content-Encoding") != "aes128gcm":
        raise Refusal(415, "encoding", "Content-Encoding: aes128gcm")
    return {"ttl_s": int(ttl), "urgency": urgency, "topic": topic}


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def main() -> None:
    """Serve."""
    options = arguments("webpush")
    serve(create_app(options.api_key_file.read_text().strip()), options)


if __name__ == "__main__":
    main()
