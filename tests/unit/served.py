"""The page of a small world on a port of its own, and how to ask it."""

from __future__ import annotations

import contextlib
import http.client
import json

from world import KEY

from voyage_jobs.config.address import Address
from voyage_jobs.config.key import KeySource
from voyage_jobs.config.page_token import PageToken
from voyage_jobs.core.clock import SystemClock
from voyage_jobs.server.door import Door
from voyage_jobs.server.ready import OthersReadiness

TOKEN = "0123456789abcdef0123456789abcdef"
PATIENCE_S = 30


class Served:
    """A server for a world's folder, and how to ask it."""

    def __init__(
        self,
        world,
        *,
        token=None,
        environ=None,
        host="127.0.0.1",
        ready=None,
        recorder=None,
        limits=None,
        **sections,
    ):
        self.environ = environ or ({} if token is None else {"VOYAGE_JOBS_SERVER_TOKEN": token})
        self.world, self.clock = world, SystemClock()
        self.settings = self.again(**sections)
        self.source = "127.0.0.1"
        self.ready = ready or OthersReadiness(self.settings, self.clock)
        self.door = Door(
            self.settings,
            Address(host, 0),
            self.clock,
            world.log,
            ready=self.ready,
            recorder=recorder,
            limits=limits,
        )

    def again(self, **sections):
        """The settings of the world, these sections apart, as it would load them."""
        return self.world.settings(**sections).attach(
            origin=None,
            warnings=(),
            api_key=KeySource({"VOYAGE_API_KEY": KEY}),
            page_token=PageToken(self.environ),
        )

    def __enter__(self):
        self.door.__enter__()
        assert self.door.wait_settled(PATIENCE_S)
        return self

    def __exit__(self, *error):
        self.door.__exit__(*error)

    def __call__(self, path, *, method="GET", body=None, **headers):
        """(status, headers, body); headers are given with underscores."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.door.port, timeout=PATIENCE_S, source_address=(self.source, 0)
        )
        with contextlib.closing(connection):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body=body, headers=named)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()

    def json(self, path, code=200, **headers):
        status_, _, body = self(path, **headers)
        assert status_ == code, body
        return json.loads(body)
