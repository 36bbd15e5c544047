"""An OpenID provider that is not ours: the server side of Authlib, in Flask, on its own socket.

It behaves; `openid_provider.py` can lie.
"""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import flask
from authlib.integrations.flask_oauth2.authorization_server import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc9207 import IssuerParameter
from authlib.oidc.core import OpenIDCode, UserInfo
from authlib.oidc.discovery import OpenIDProviderMetadata
from joserfc.jwk import ECKey, RSAKey
from werkzeug.serving import make_server

from tests.kit.openid_provider import CLIENT_ID, CLIENT_SECRET

__all__ = ["AuthlibProvider", "running_authlib_provider"]

_SCOPES = {"openid", "email", "profile"}


class _Client(ClientMixin):
    """The only client: confidential, with the code flow."""

    def get_client_id(self) -> str:
        return CLIENT_ID

    def get_default_redirect_uri(self) -> str:
        return ""

    def get_allowed_scope(self, scope: str) -> str:
        return " ".join(one for one in scope.split() if one in _SCOPES)

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri.startswith("http://127.0.0.1:") and redirect_uri.endswith(
            "/sign-in/oidc/callback"
        )

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == CLIENT_SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return (method, endpoint) == ("client_secret_basic", "token")

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


@dataclass
class _Code:
    """A code that was given out, as Authlib reads it."""

    text: str
    person: dict[str, Any]
    redirect_uri: str
    scope: str
    nonce: str
    code_challenge: str
    code_challenge_method: str
    made_at: int = field(default_factory=lambda: int(time.time()))

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str:
        return self.nonce

    def get_auth_time(self) -> int:
        return self.made_at

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


class AuthlibProvider:
    """A provider with one person, who only has to press a button.

    Attributes:
        person: The claims about the person.
        algorithm: How tokens are signed.
        keys: The keys that sign them.
    """

    def __init__(self) -> None:
        self.issuer = ""
        self.person: dict[str, Any] = {}
        self.algorithm = "RS256"
        self.keys: dict[str, RSAKey | ECKey] = {
            "RS256": RSAKey.generate_key(2048, {"kid": "rsa"}),
            "ES256": ECKey.generate_key("P-256", {"kid": "elliptic"}),
        }
        self.codes: dict[str, _Code] = {}
        self.app = flask.Flask(__name__)
        self._server = AuthorizationServer(
            self.app, query_client=lambda one: _Client() if one == CLIENT_ID else None, save_token=_forget
        )
        self._server.register_extension(_issuer_of(self))
        extensions = [_id_token_of(self), CodeChallenge(required=True)]
        self._server.register_grant(_grant_of(self), extensions)
        for path, serve, method in (
            ("/.well-known/openid-configuration", self._discovery, "GET"),
            ("/keys", self._keys, "GET"),
            ("/authorize", self._ask, "GET"),
            ("/authorize", self._authorize, "POST"),
            ("/token", self._server.create_token_response, "POST"),
        ):
            self.app.add_url_rule(path, f"{method} {path}", serve, methods=[method])

    @property
    def key(self) -> RSAKey | ECKey:
        """The key of the algorithm."""
        return self.keys[self.algorithm]

    def _discovery(self) -> flask.Response:
        metadata = OpenIDProviderMetadata(
            issuer=self.issuer,
            authorization_endpoint=f"{self.issuer}/authorize",
            token_endpoint=f"{self.issuer}/token",
            jwks_uri=f"{self.issuer}/keys",
            response_types_supported=["code"],
            subject_types_supported=["public"],
            id_token_signing_alg_values_supported=list(self.keys),
            token_endpoint_auth_methods_supported=["client_secret_basic"],
            code_challenge_methods_supported=["S256"],
            authorization_response_iss_parameter_supported=True,
        )
        return flask.jsonify(metadata)

    def _keys(self) -> flask.Response:
        return flask.jsonify({"keys": [one.as_dict(private=False) for one in self.keys.values()]})

    def _ask(self) -> str:
        self._server.get_consent_grant(end_user=self.person)
        action = html.escape(flask.request.full_path)
        form = f'<form method="post" action="{action}"><button>Continue as Ada</button></form>'
        return f"<title>Provider</title>{form}"

    def _authorize(self) -> Any:
        grant = self._server.get_consent_grant(end_user=self.person)
        return self._server.create_authorization_response(grant_user=self.person, grant=grant)


@contextmanager
def running_authlib_provider() -> Iterator[AuthlibProvider]:
    """Run a provider for the block. Authlib needs AUTHLIB_INSECURE_TRANSPORT for addresses without TLS."""
    provider = AuthlibProvider()
    server = make_server("127.0.0.1", 0, provider.app, threaded=True)
    provider.issuer = f"http://127.0.0.1:{server.server_port}"
    serving = threading.Thread(target=server.serve_forever, args=(0.05,))
    serving.start()
    try:
        yield provider
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def _forget(_token: object, _request: object) -> None:
    """Keep no access tokens: nothing here accepts one."""


def _issuer_of(provider: AuthlibProvider) -> IssuerParameter:
    class Issuer(IssuerParameter):
        def get_issuer(self) -> str:
            return provider.issuer

    return Issuer()


def _id_token_of(provider: AuthlibProvider) -> OpenIDCode:
    class IdToken(OpenIDCode):
        def exists_nonce(self, nonce: str, request: object) -> bool:
            return any(code.nonce == nonce for code in provider.codes.values())

        def resolve_client_private_key(self, client: object) -> RSAKey | ECKey:
            return provider.key

        def get_client_algorithm(self, client: object) -> str:
            return provider.algorithm

        def get_encode_header(self, client: object) -> dict[str, str]:
            return {"alg": provider.algorithm, "kid": str(provider.key.kid)}

        def get_client_claims(self, client: Any) -> dict[str, Any]:
            return {"iss": provider.issuer, "aud": [client.get_client_id()]}

        def generate_user_info(self, user: dict[str, Any], scope: str) -> UserInfo:
            return UserInfo(user)

    made: OpenIDCode = IdToken(require_nonce=True)
    return made


def _grant_of(provider: AuthlibProvider) -> type[AuthorizationCodeGrant]:
    class CodeGrant(AuthorizationCodeGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic"]  # noqa: RUF012 - the type of the base class

        def save_authorization_code(self, code: str, request: Any) -> None:
            data = request.payload.data
            provider.codes[code] = _Code(
                code,
                dict(request.user),
                request.payload.redirect_uri,
                request.scope,
                data["nonce"],
                data["code_challenge"],
                data["code_challenge_method"],
            )

        def query_authorization_code(self, code: str, client: object) -> _Code | None:
            return provider.codes.get(code)

        def delete_authorization_code(self, authorization_code: _Code) -> None:
            del provider.codes[authorization_code.text]

        def authenticate_user(self, authorization_code: _Code) -> dict[str, Any]:
            return authorization_code.person

    return CodeGrant
