"""Paths to views. Every answer says that nothing but our own files may run, and that nobody may frame it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from voyage_jobs.errors import ConfigError, StateError, VoyageJobsError
from voyage_jobs.server.attempts import Attempts
from voyage_jobs.server.guard import COOKIE, COOKIE_S, Guard, Kind, Proof, Verdict, client_of
from voyage_jobs.server.views import BusyError, Views
from voyage_jobs.telemetry.metrics.text import CONTENT_TYPE

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_ASSETS = {
    "page.html": "text/html; charset=utf-8",
    "login.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    **dict.fromkeys(
        ("page.js", "dom.js", "words.js", "marks.js", "timeline.js"), "text/javascript; charset=utf-8"
    ),
    "icon.svg": "image/svg+xml",
}
# What everybody may have: probes, and what a login looks like.
_PROBES = {"/healthz", "/readyz"}
_OPEN = {*_PROBES, "/page.css", "/icon.svg"}
_PAGES = {"/", "/login"}
_PROBES_AT_ONCE = 2
_LONGEST_FORM = 4_096
_WRONG = '<p class="wrong" role="alert">{}</p>'

Ready = Callable[[], tuple[bool, str]]
"""Whether work can be done here, and a sentence about it."""


def make_app(
    views: Views,
    guard: Guard,
    attempts: Attempts,
    ready: Ready,
    log: Any,
    *,
    logged_in_pages: bool,
    most_at_once: int,
) -> Any:
    """The application, guarded. `logged_in_pages`: a token is configured, so that there is something to log out of.

    No more than `most_at_once` requests of one client are answered at once, and health checks besides.
    """
    paths = _Paths(views, guard, attempts, ready, logged_in_pages)
    app = Starlette(
        routes=[
            Route("/", paths.page),
            Route("/healthz", paths.healthz),
            Route("/readyz", paths.readyz),
            Route("/metrics", paths.metrics),
            Route("/login", paths.login, methods=["GET", "POST"]),
            Route("/logout", paths.logout, methods=["POST"]),
            Route("/api/status", paths.kept(views.status)),
            Route("/api/batches", paths.kept(views.batches)),
            Route("/api/failures", paths.kept(views.failures)),
            Route("/api/history", paths.history),
            Route("/api/search", paths.search),
            *(Route(f"/{name}", paths.asset(name)) for name in _ASSETS if not name.endswith(".html")),
        ],
        exception_handlers={
            HTTPException: _refused,
            ClientDisconnect: _hung_up,
            VoyageJobsError: _told,
            Exception: _unexpected(log),
        },
    )
    return Guarded(app, guard, attempts, most_at_once)


class Guarded:
    """Lets in whom the guard lets in, and puts the headers on every answer. Plain ASGI."""

    def __init__(self, app: Any, guard: Guard, attempts: Attempts, most_at_once: int) -> None:
        self._app, self._guard, self._attempts = app, guard, attempts
        self._most_at_once = most_at_once
        self._at_once: Counter[str] = Counter()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                ours = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *ours]}
            await send(message)

        client = _client(scope)
        with contextlib.suppress(Exception):  # answered and logged below us; Starlette raises it once more
            if scope["path"] in _PROBES:
                await self._app(scope, receive, with_headers)
            elif self._at_once[client] >= self._most_at_once:
                answer = _error(503, "busy", "Too many requests from your address.")
                answer.headers["Retry-After"] = "1"
                await answer(scope, receive, with_headers)
            else:
                with self._one_more(client):
                    await (await self._turned_away(scope) or self._app)(scope, receive, with_headers)

    @contextlib.contextmanager
    def _one_more(self, client: str) -> Iterator[None]:
        self._at_once[client] += 1
        try:
            yield
        finally:
            self._at_once -= Counter([client])  # and nothing is kept of those with none

    async def _turned_away(self, scope: Any) -> Response | None:
        """The answer for whom the guard does not let in; held back if a wrong token, or cookie, was shown."""
        if scope["path"] in _OPEN:
            return None
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        linkable = scope["path"] in _PAGES and scope["method"] in ("GET", "HEAD")
        if scope["path"] == "/login":
            # Before what it sends is read, so that nobody else can lock its client out.
            stranger = self._guard.stranger(headers, linkable=linkable)
            return _refusal(scope, stranger) if stranger else None
        try:
            offered = self._guard.offered(headers)
            if wait_s := self._attempts.wait_s(_client(scope), offered[0]) if offered else 0:
                return _locked_out(scope, offered[0], wait_s)
            verdict = self._guard.judge(headers, linkable=linkable)
            wrong = [proof for proof in offered if not self._guard.is_right(proof)]
        except ConfigError as exc:
            return _error(503, "config", exc.message, exc.hint)
        if verdict is Verdict.WELCOME:
            return None
        await _hold_back(max((self._attempts.wrong(_client(scope), proof) for proof in wrong), default=0.0))
        return _refusal(scope, verdict)


def _client(scope: Any) -> str:
    """Who asks. What a proxy says of it (`X-Forwarded-For`) anybody could say, so nobody is asked."""
    return client_of(scope["client"][0] if scope["client"] else "")


async def _hold_back(delay_s: float) -> None:
    """Wait before a refusal; the end of the server ends that, too, and only that cancels us."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(delay_s)


def _locked_out(scope: Any, proof: Proof, wait_s: int) -> Response:
    if proof.kind is Kind.COOKIE and scope["path"] == "/" and scope["method"] == "GET":
        return _to_login()
    hint = f"Try again in {wait_s} s."
    answer = _error(429, "locked_out", "Too many wrong tokens from your address.", hint)
    answer.headers["Retry-After"] = str(wait_s)
    return answer


def _to_login() -> Response:
    return RedirectResponse("/login", 303, headers={"Cache-Control": "no-store"})


def _refusal(scope: Any, verdict: Verdict) -> Response:
    if verdict is Verdict.WRONG_HOST:
        hint = "Open it as localhost or by its address, or name this host in [server] hosts."
        return _error(421, "wrong_host", "This server is not known by that name.", hint)
    if verdict is Verdict.CROSS_SITE:
        return _error(403, "cross_site", "Other sites may not ask.")
    if scope["path"] == "/" and scope["method"] == "GET":
        return _to_login()
    answer = _error(401, "token", "A token is needed: `Authorization: Bearer ...`, or log in at /login.")
    answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


class _Paths:
    """The functions behind the paths. What reads a disk runs in a thread of the pool."""

    def __init__(
        self, views: Views, guard: Guard, attempts: Attempts, ready: Ready, logged_in_pages: bool
    ) -> None:
        self._views, self._guard, self._attempts, self._ready = views, guard, attempts, ready
        self._probes = CapacityLimiter(_PROBES_AT_ONCE)
        folder = files("voyage_jobs.server") / "assets"
        self._files = {name: (folder / name).read_bytes() for name in _ASSETS}
        if logged_in_pages:
            self._files["page.html"] = self._files["page.html"].replace(b"data-token hidden", b"data-token")

    async def page(self, request: Request) -> Response:
        """The page itself: a few kilobytes, the data comes after."""
        return self._file(request, "page.html")

    def asset(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        """One of our files."""

        async def answer(request: Request) -> Response:
            return self._file(request, name)

        return answer

    def _file(self, request: Request, name: str) -> Response:
        body = self._files[name]
        tag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type=_ASSETS[name], headers=headers)

    async def healthz(self, _request: Request) -> Response:
        """This process answers: nothing more."""
        return PlainTextResponse("ok\n", headers={"Cache-Control": "no-store"})

    async def readyz(self, _request: Request) -> Response:
        """Lock held, state migrated, recovery done. In a thread apart: those of the pool may all be waiting."""
        is_ready, text = await to_thread.run_sync(self._ready, limiter=self._probes)
        headers = {"Cache-Control": "no-store"}
        return PlainTextResponse(f"{text}\n", 200 if is_ready else 503, headers=headers)

    async def metrics(self, _request: Request) -> Response:
        """For Prometheus."""
        text = await run_in_threadpool(self._views.metrics)
        kept = f"{self._views.metrics.kept_s:.1f}"
        headers = {"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store", "X-Kept-Seconds": kept}
        return Response(text, headers=headers)

    def kept(self, view: Any) -> Callable[[Request], Awaitable[Response]]:
        """A view that is the same for all who ask, with the time for which it will be."""

        async def answer(_request: Request) -> Response:
            found = _json(await run_in_threadpool(view))
            found.headers["X-Kept-Seconds"] = f"{view.kept_s:.1f}"
            return found

        return answer

    async def history(self, request: Request) -> Response:
        """`?ref=`, and `&source=` to narrow a path down."""
        ref, source = request.query_params.get("ref", ""), request.query_params.get("source")
        return _json(await run_in_threadpool(self._views.history, ref, source or None))

    async def search(self, request: Request) -> Response:
        """`?q=`, and what narrows it down. By words, which costs nothing, unless `mode` says otherwise."""
        return _json(await run_in_threadpool(self._views.find, request.query_params))

    async def login(self, request: Request) -> Response:
        """The form, and what it sends. A wrong token costs time, and too many lock the client out."""
        if request.method != "POST":
            return self._file(request, "login.html")
        form = parse_qs((await _short_body(request)).decode("utf-8", "replace"))
        client, proof = _client(request.scope), Proof(Kind.TOKEN, form.get("token", [""])[0].strip())
        if not proof.value:
            return self._login_again(400, "Type the token.")
        # From here to the count nothing is awaited: of requests that come together one is looked at.
        if wait_s := self._attempts.wait_s(client, proof):
            return self._login_again(429, f"Too many wrong tokens. Try again in {wait_s} s.", wait_s)
        cookie = self._guard.opens(proof.value)
        if cookie is None:
            await _hold_back(self._attempts.wrong(client, proof))
            return self._login_again(403, "That is not the token. Try again.")
        answer = RedirectResponse("/", 303, headers={"Cache-Control": "no-store"})
        answer.set_cookie(COOKIE, cookie, max_age=COOKIE_S, path="/", httponly=True, samesite="strict")
        return answer

    def _login_again(self, status: int, text: str, wait_s: int = 0) -> Response:
        body = self._files["login.html"].replace(b"<!--wrong-->", _WRONG.format(text).encode())
        headers = {"Cache-Control": "no-store"} | ({"Retry-After": str(wait_s)} if wait_s else {})
        return Response(body, status, media_type=_ASSETS["login.html"], headers=headers)

    async def logout(self, _request: Request) -> Response:
        """Forget the cookie."""
        answer = RedirectResponse("/login", 303, headers={"Cache-Control": "no-store"})
        answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return answer


async def _short_body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _LONGEST_FORM:
            raise HTTPException(413, "That is too long to be a token.")
    return body


def _json(value: Any, status: int = 200) -> Response:
    """As `--json` writes it: bytes of names that are no text are lone surrogate escapes, which is valid JSON."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace")
    return Response(text, status, media_type="application/json", headers={"Cache-Control": "no-store"})


def _error(status: int, code: str, message: str, hint: str | None = None) -> Response:
    return _json({"error": {"code": code, "message": message, "hint": hint}}, status)


async def _told(_request: Request, exc: Exception) -> Response:
    """Our own errors in their own words."""
    if isinstance(exc, BusyError):
        return _error(429, "busy", exc.message)
    if isinstance(exc, ConfigError):
        return _error(400, "config", exc.message, exc.hint)
    if isinstance(exc, StateError):
        return _error(503, "state", exc.message, exc.hint)
    if isinstance(exc, VoyageJobsError):
        return _error(500, "error", exc.message, exc.hint)
    raise exc


async def _refused(_request: Request, exc: Exception) -> Response:
    status = exc.status_code if isinstance(exc, HTTPException) else 500
    answer = _error(status, f"http_{status}", str(getattr(exc, "detail", "")) or "No.")
    answer.headers.update(getattr(exc, "headers", None) or {})  # Allow, with 405
    return answer


async def _hung_up(_request: Request, _exc: Exception) -> Response:
    """For nobody: who asked has gone before all was said, which is no error of ours."""
    return Response(status_code=400)


def _unexpected(log: Any) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, exc: Exception) -> Response:
        log.error("page.failed", path=request.url.path, error=f"{type(exc).__name__}: {exc}")
        return _error(500, "unexpected", "Something unexpected went wrong; the log says what.")

    return answer
