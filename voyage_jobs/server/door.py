"""The thread that listens. Whatever happens to it, the work goes on: a port that is taken is a problem, not an end."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any

from voyage_jobs.config.address import Address
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock
from voyage_jobs.core.retry import POLICIES
from voyage_jobs.errors import ConfigError
from voyage_jobs.server.guard import Guard
from voyage_jobs.server.views import Views
from voyage_jobs.telemetry.metrics.recorder import Recorder

if TYPE_CHECKING:
    from voyage_jobs.server.connections import Limits

TRY_AGAIN_S = POLICIES["page"].first_s
_STOP_WAIT_S = 5.0
_KEEP_ALIVE_S = 30
_TAKEN_AT_ONCE = 64
_QUEUE = 1024


def demand_safe(settings: Settings, address: Address) -> None:
    """Raise ConfigError for an address that others can reach without a token, or for a token that cannot be used."""
    if settings.page_token() is None and not address.is_loopback:
        raise ConfigError(
            f"server.listen is {address.host}, which others can reach, and no token is set.",
            hint="Set VOYAGE_JOBS_SERVER_TOKEN (`openssl rand -hex 24`) or VOYAGE_JOBS_SERVER_TOKEN_FILE, or listen"
            " on 127.0.0.1.",
        )


class _Listener(socket.socket):
    """asyncio has one number for the kernel's queue and for how many it takes from it before it looks at any: each is a
    file descriptor. So the queue is set here: long, or a health check that comes with a crowd is tried again by its
    kernel a second later."""

    def listen(self, _backlog: int = 0, /) -> None:
        """With our queue, whoever asks."""
        super().listen(_QUEUE)


class Door:
    """A server in a thread of its own, from `with` to its end.

    `ready` tells what /readyz answers. Raises ConfigError at the start for what `demand_safe` refuses, never later.
    """

    def __init__(
        self,
        settings: Settings,
        address: Address,
        clock: Clock,
        log: Any,
        *,
        ready: Any,
        recorder: Recorder | None = None,
        limits: Limits | None = None,
    ) -> None:
        demand_safe(settings, address)
        self.problem: str | None = None
        """Why nobody can be let in at the moment; None while it listens, or is about to."""
        self.port: int | None = None
        self._settings, self._address, self._clock, self._log = settings, address, clock, log
        self._ready, self._recorder, self._limits = ready, recorder, limits
        self._lock = threading.Lock()
        self._views: Views | None = None
        self._closing = threading.Event()
        self._settled = threading.Event()
        self._server: Any = None
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)

    def __enter__(self) -> Door:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        with self._lock:
            if self._server is not None:
                self._server.should_exit = True
                self._server.force_exit = True
        self._thread.join(_STOP_WAIT_S)

    def wait_settled(self, seconds: float) -> bool:
        """Wait until it is known whether it can listen; for commands that tell, and for tests."""
        return self._settled.wait(seconds)

    def take_up(self, settings: Settings) -> None:
        """Tell by other settings from now on, but for those of `[server]`."""
        with self._lock:
            self._settings = settings
            if self._views is not None:
                self._views.take_up(settings)

    # --- the thread ---

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                listener = self._bound()
            except OSError as exc:
                self._cannot(f"Cannot listen on {self._address.host}:{self._address.port}: {exc.strerror}.")
            else:
                with contextlib.closing(listener):
                    self._serve(listener)
            self._closing.wait(TRY_AGAIN_S)

    def _bound(self) -> _Listener:
        host, port = self._address
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, where = found[0]
        listener = _Listener(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6 and self._address.is_loopback:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(where)
            listener.listen()
        except OSError:
            listener.close()
            raise
        return listener

    def _serve(self, listener: socket.socket) -> None:
        """Answer until asked to stop. An error in here is told, and tried again later."""
        try:
            server = self._made(listener)
            with self._lock:
                if self._closing.is_set():
                    return
                self._server = server
            server.run(sockets=[listener])
        except Exception as exc:  # noqa: BLE001 - the work must not end with the page
            self._cannot(f"The page ended: {type(exc).__name__}: {exc}")
        finally:
            with self._lock:
                self._server = None

    def _made(self, listener: socket.socket) -> Any:
        import uvicorn

        from voyage_jobs.server.app import make_app
        from voyage_jobs.server.attempts import Attempts
        from voyage_jobs.server.connections import limits_of_process, protocol_within

        limits = self._limits or limits_of_process()
        with self._lock:
            self._views = views = Views(self._settings, self._clock, self._recorder)
        guard = Guard(self._settings.page_token, self._settings.server.hosts)
        token_set = self._settings.page_token.configured
        app = make_app(
            views,
            guard,
            Attempts(self._clock, self._log),
            self._ready,
            self._log,
            logged_in_pages=token_set,
            most_at_once=limits.requests,
        )
        config = uvicorn.Config(
            app,
            http=protocol_within(limits, self._log),
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            backlog=_TAKEN_AT_ONCE,
        )
        self.port = listener.getsockname()[1]
        self.problem = None
        self._log.info("page.listening", url=Address(self._address.host, self.port).url, token=token_set)
        threading.Thread(target=views.warm_up, name="page-warm-up", daemon=True).start()
        self._settled.set()
        return uvicorn.Server(config)

    def _cannot(self, problem: str) -> None:
        if problem != self.problem:
            self._log.warning("page.not_served", error=problem, again_s=TRY_AGAIN_S)
        self.problem, self.port = problem, None
        self._settled.set()
