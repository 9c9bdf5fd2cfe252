"""The in-process door: an httpx transport that hands requests to a simulator, whatever host they are for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import httpx

from voyage_jobs.simulator.core import Simulator
from voyage_jobs.simulator.messages import Loss, Request, Response

_KEPT_REQUESTS = 10_000


@dataclass(frozen=True)
class SeenRequest:
    """A request as it arrived, kept so that a test can look at it (its headers hold the key)."""

    method: str
    host: str
    path: str
    query: str
    headers: Mapping[str, str] = field(repr=False)


class SimulatorTransport(httpx.BaseTransport):
    """Answers an `httpx.Client` from a simulator; losses become the exceptions httpx raises for them.

    A lost exchange that ends in a timeout lets the client's read timeout pass on the simulator's clock, as
    it would in earnest. The last 10,000 requests are kept in `requests`.
    """

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.requests: deque[SeenRequest] = deque(maxlen=_KEPT_REQUESTS)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One exchange."""
        url, headers = request.url, {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(SeenRequest(request.method, url.host, url.path, url.query.decode(), headers))
        assert isinstance(request.stream, httpx.SyncByteStream)  # noqa: S101 - narrows the type
        body = self.simulator.blobs.new()
        for piece in request.stream:
            body.append(piece)
        asked = Request(request.method, url.path, dict(url.params), headers, body)
        response = self.simulator.handle(asked)
        if response.lost is not None:
            raise self._loss(response.lost, request)
        if response.trickle is not None:  # in earnest the client's patience ends by its own measure
            raise self._loss(Loss.READ_TIMEOUT, request)
        response.headers["content-length"] = str(response.length)
        return httpx.Response(
            response.status, headers=response.headers, stream=_Body(response, request), request=request
        )

    def _loss(self, loss: Loss, request: httpx.Request) -> httpx.TransportError:
        if loss is Loss.CONNECT_ERROR:
            return httpx.ConnectError("The simulator refuses the connection.", request=request)
        if loss is Loss.READ_ERROR:
            return httpx.ReadError("The simulator broke the connection.", request=request)
        timeout_s = request.extensions.get("timeout", {}).get("read")
        if timeout_s is not None:
            self.simulator.clock.wait(timeout_s)
        return httpx.ReadTimeout("The simulator does not answer.", request=request)


class _Body(httpx.SyncByteStream):
    """A response body that may break off."""

    def __init__(self, response: Response, request: httpx.Request) -> None:
        self._response = response
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        yield from self._response.chunks()
        if self._response.reset:
            raise httpx.ReadError("The simulator reset the connection.", request=self._request)
        if self._response.cut:
            raise httpx.RemoteProtocolError(
                "peer closed connection without sending complete message body", request=self._request
            )
