"""Access tokens by flask-jwt-extended: EdDSA only, 15 minutes, issuer and audience checked.

The algorithm is fixed on the verifying side, so that neither `none` nor an HMAC made with the public key passes
(RFC 8725, sections 2.1 and 3.1).
"""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
from flask import Flask, current_app
from flask_jwt_extended import JWTManager, create_access_token

from platform_api.core.internal_tls import internal_tls
from platform_api.core.security import revocation
from platform_api.core.security.keys import JwksSource, KeySet, UnknownKey
from platform_api.core.settings import SettingsError, read_variable

ISSUER = "smartfit-auth"
AUDIENCE = "smartfit"
LIFE = timedelta(minutes=15)
LEEWAY_SECONDS = 5


def init_app(app: Flask) -> None:
    """Set up tokens: private keys from SMARTFIT_JWT_KEYS_DIR (auth), else public ones from SMARTFIT_JWKS_URL.

    Raises:
        SettingsError: neither is set.
    """
    folder, url = read_variable("SMARTFIT_JWT_KEYS_DIR"), read_variable("SMARTFIT_JWKS_URL")
    tls = internal_tls()
    source: KeySet | JwksSource
    if folder:
        source = KeySet(Path(folder))
        source.signing_key()
    elif url:
        source = JwksSource(url, tls.verify, tls.pair)
    else:
        raise SettingsError(
            "SMARTFIT_JWKS_URL: 설정이 없습니다 (not set; auth itself needs SMARTFIT_JWT_KEYS_DIR instead)"
        )
    app.extensions["smartfit_keys"] = source
    if url:
        # auth itself reads its own database instead.
        app.extensions[revocation.EXTENSION] = revocation.of_auth(url, tls.verify, tls.pair)
    app.config.update(
        JWT_ALGORITHM="EdDSA",
        JWT_DECODE_ALGORITHMS=["EdDSA"],
        JWT_ENCODE_ISSUER=ISSUER,
        JWT_DECODE_ISSUER=ISSUER,
        JWT_ENCODE_AUDIENCE=AUDIENCE,
        JWT_DECODE_AUDIENCE=AUDIENCE,
        JWT_DECODE_LEEWAY=LEEWAY_SECONDS,
        JWT_ACCESS_TOKEN_EXPIRES=LIFE,
        JWT_TOKEN_LOCATION=["headers"],
    )
    manager = JWTManager(app)

    @manager.decode_key_loader
    def decode_key(header: dict[str, Any], _: dict[str, Any]) -> Any:
        try:
            return source.public_key(str(header.get("kid", "")))
        except UnknownKey as error:
            raise jwt.InvalidTokenError("unknown key") from error

    @manager.token_in_blocklist_loader
    def is_revoked(_: dict[str, Any], claims: dict[str, Any]) -> bool:
        known = app.extensions.get(revocation.EXTENSION)
        return known is not None and known.refuses(claims)

    @manager.encode_key_loader
    def encode_key(_: Any) -> Any:
        return key_set().signing_key()[1]


def key_set() -> KeySet:
    """The private keys of this process.

    Raises:
        SettingsError: it is not auth.
    """
    source = current_app.extensions["smartfit_keys"]
    if not isinstance(source, KeySet):
        raise SettingsError("SMARTFIT_JWT_KEYS_DIR: 토큰 발급은 auth만 할 수 있습니다 (only auth issues tokens)")
    return source


def issue_access_token(
    sub: str, roles: Iterable[str], branch_ids: Iterable[str] = (), extra: dict[str, Any] | None = None
) -> str:
    """A signed access token for `sub`.

    Args:
        extra: further claims, such as the session.
    """
    kid, _ = key_set().signing_key()
    token: str = create_access_token(
        identity=sub,
        fresh=False,
        additional_claims={"roles": sorted(roles), "branch_ids": sorted(branch_ids), **(extra or {})},
        additional_headers={"kid": kid},
    )
    return token
