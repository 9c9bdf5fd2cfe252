"""Commands that look, run in a world's own time, in 80 columns, with the simulator for a network."""

import json

from click.testing import CliRunner
from world import KEY, World

from voyage_jobs.cli.main import cli
from voyage_jobs.config.provider import connect
from voyage_jobs.evaluation import query_vectors
from voyage_jobs.retrieval import calls
from voyage_jobs.service import worker

MODULES = ("status", "plan", "search", "why", "history", "eval")
WIDTH = 80


class Looking:
    """`run("status", "--json")` and the like, for a world whose settings a file may hold."""

    def __init__(self, root, monkeypatch, **world):
        self.world = World(root, dimension=256, **world)
        monkeypatch.setenv("VOYAGE_API_KEY", KEY)
        monkeypatch.setattr("voyage_jobs.cli.output._PLAIN_WIDTH", WIDTH)
        for module in MODULES:
            monkeypatch.setattr(f"voyage_jobs.cli.{module}.SystemClock", lambda: self.world.clock)
        transport = self.world.transport
        monkeypatch.setattr(
            worker,
            "connect",
            lambda settings, clock, _, observer: connect(settings, clock, transport, observer),
        )
        for module in (calls, query_vectors):
            monkeypatch.setattr(
                module, "connect", lambda settings, clock, *_: connect(settings, clock, transport)
            )

    def __call__(self, *args, code=0, **sections):
        """Run a command; its result, with the exit code checked."""
        config = str(self.world.config_file(**sections))
        result = CliRunner().invoke(cli, ["--config", config, *map(str, args)], prog_name="voyage-jobs")
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.stderr
        return result

    def text(self, *args, code=0, **sections):
        """What an operator reads; no line is wider than 80 columns, but for paths of this machine."""
        shown = self(*args, code=code, **sections).stdout
        wide = [line for line in shown.splitlines() if len(line.rstrip()) > WIDTH]
        assert all(str(self.world.root) in line for line in wide), wide
        assert "\x1b" not in shown
        return shown

    def json(self, *args, code=0, **sections):
        """What a program reads."""
        return json.loads(self(*args, "--json", code=code, **sections).stdout)
