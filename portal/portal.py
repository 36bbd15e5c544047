"""What all requests share: settings, the client of the API, cookies and templates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .api import AdminApi, Credentials
from .failure_log import FailureLog
from .followed import FollowedLists
from .framed import FramedMessages
from .oidc import KeptForms, OidcClient
from .render import StaticFiles, environment
from .session import Cookies, RecentTokens
from .settings import PortalSettings
from .stream_limits import StreamLimits
from .throttle import Throttle

__all__ = ["Portal"]


class Portal:
    """The portal of one process.

    Args:
        settings: Its settings.
        navigation: The entries of the navigation.
        credentials: The certificate for servers.
    """

    def __init__(
        self, settings: PortalSettings, navigation: Sequence[Any], credentials: Credentials | None
    ) -> None:
        self.settings = settings
        self.base = settings.base_path
        self.api = AdminApi(settings.servers, credentials, settings.server_tls_name)
        self.cookies = Cookies(settings)
        self.static = StaticFiles(self.base)
        self.wrong_keys = Throttle("A key that works is still accepted.")
        self.wrong_codes = Throttle("Wait a minute, then try again.")
        self.failures = FailureLog()
        self.oidc = OidcClient(self.api, settings.oidc_client_secret)
        self.kept_forms = KeptForms()
        self.recent_tokens = RecentTokens()
        self.streams = StreamLimits()
        self.followed = FollowedLists(self.streams)
        self.framed = FramedMessages()
        self._templates = environment(
            static=self.static.url, navigation=navigation, base=self.base, read_only=settings.read_only
        )

    def render(self, template: str, **values: Any) -> str:
        """Return a rendered template."""
        return self._templates.get_template(template).render(**values)
