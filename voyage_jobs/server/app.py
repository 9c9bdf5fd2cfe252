"""Paths to views. Every answer says that nothing but our own files may run, and that nobody may frame it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from voyage_jobs.errors import ConfigError, StateError, VoyageJobsError
from voyage_jobs.metrics.text import CONTENT_TYPE
from voyage_jobs.server.guard import COOKIE, COOKIE_S, Guard, Verdict
from voyage_jobs.server.views import BusyError, Views

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
    **dict.fromkeys(("page.js", "dom.js", "words.js", "timeline.js"), "text/javascript; charset=utf-8"),
    "icon.svg": "image/svg+xml",
}
# What everybody may have: probes, and what a login looks like.
_OPEN = {"/healthz", "/readyz", "/login", "/page.css", "/icon.svg"}
_LONGEST_FORM = 4_096
_WRONG_TOKEN_S = 1.0
_WRONG = '<p class="wrong" role="alert">That is not the token. Try again.</p>'

Ready = Callable[[], tuple[bool, str]]
"""Whether work can be done here, and a sentence about it."""


def make_app(views: Views, guard: Guard, ready: Ready, log: Any, *, logged_in_pages: bool) -> Any:
    """The application, guarded. `logged_in_pages`: a token is configured, so that there is something to log out of."""
    paths = _Paths(views, guard, ready, logged_in_pages)
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
            VoyageJobsError: _told,
            Exception: _unexpected(log),
        },
    )
    return Guarded(app, guard)


class Guarded:
    """Lets in whom the guard lets in, and puts the headers on every answer. Plain ASGI."""

    def __init__(self, app: Any, guard: Guard) -> None:
        self._app, self._guard = app, guard

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                ours = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *ours]}
            await send(message)

        answer = self._turned_away(scope)
        with contextlib.suppress(Exception):  # answered and logged below us; Starlette raises it once more
            await (answer or self._app)(scope, receive, with_headers)

    def _turned_away(self, scope: Any) -> Response | None:
        if scope["path"] in _OPEN:
            return None
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            verdict = self._guard.judge(headers)
        except ConfigError as exc:
            return _error(503, "config", exc.message, exc.hint)
        if verdict is Verdict.WELCOME:
            return None
        if verdict is Verdict.WRONG_HOST:
            hint = "Open it as localhost or by its address, or name this host in [server] hosts."
            return _error(421, "wrong_host", "This server is not known by that name.", hint)
        if verdict is Verdict.CROSS_SITE:
            return _error(403, "cross_site", "Other sites may not ask.")
        if scope["path"] == "/" and scope["method"] == "GET":
            return RedirectResponse("/login", 303, headers={"Cache-Control": "no-store"})
        answer = _error(401, "token", "A token is needed: `Authorization: Bearer ...`, or log in at /login.")
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer


class _Paths:
    """The functions behind the paths. What reads a disk runs in a thread of the pool."""

    def __init__(self, views: Views, guard: Guard, ready: Ready, logged_in_pages: bool) -> None:
        self._views, self._guard, self._ready = views, guard, ready
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
        """Lock held, state migrated, recovery done."""
        is_ready, told = await run_in_threadpool(self._ready)
        headers = {"Cache-Control": "no-store"}
        return PlainTextResponse(f"{told}\n", 200 if is_ready else 503, headers=headers)

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
        """`?q=`: a match of words, which costs nothing."""
        return _json(await run_in_threadpool(self._views.find, request.query_params.get("q", "")))

    async def login(self, request: Request) -> Response:
        """The form, and what it sends. A wrong token costs a second."""
        if request.method != "POST":
            return self._file(request, "login.html")
        form = parse_qs((await _short_body(request)).decode("utf-8", "replace"))
        cookie = self._guard.opens(form.get("token", [""])[0].strip())
        if cookie is None:
            await asyncio.sleep(_WRONG_TOKEN_S)
            body = self._files["login.html"].replace(b"<!--wrong-->", _WRONG.encode())
            return Response(
                body, 403, media_type=_ASSETS["login.html"], headers={"Cache-Control": "no-store"}
            )
        answer = RedirectResponse("/", 303, headers={"Cache-Control": "no-store"})
        answer.set_cookie(COOKIE, cookie, max_age=COOKIE_S, path="/", httponly=True, samesite="strict")
        return answer

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
            raise HTTPException(413, "That is too long for a token.")
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
    return _error(status, f"http_{status}", str(getattr(exc, "detail", "")) or "No.")


def _unexpected(log: Any) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, exc: Exception) -> Response:
        log.error("page.failed", path=request.url.path, error=f"{type(exc).__name__}: {exc}")
        return _error(500, "unexpected", "Something unexpected went wrong; the log says what.")

    return answer
