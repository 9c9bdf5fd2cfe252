"""Traces: one span a step that did something, one a call below it, and nothing of what is worked on."""

import builtins
import json

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from world import KEY, World

from voyage_jobs.core.observe import together
from voyage_jobs.errors import ConfigError
from voyage_jobs.service.worker import working
from voyage_jobs.telemetry.tracing import tracing


def spans_of(world, *, turns=2_000, quiet=True):
    """Everything that a run of this world sends to a collector."""
    exporter = InMemorySpanExporter()
    settings = world.settings(tracing={"enabled": True})
    with tracing(settings, world.clock, exporter) as observers:
        with working(
            settings,
            world.clock,
            world.log,
            mode="sync",
            transport=world.transport,
            observer=together(observers),
        ) as context:
            world.take_turns(context, turns, quiet=quiet)
    return exporter.get_finished_spans()


def named(spans, name):
    return [span for span in spans if span.name == name]


def test_it_is_off_by_default(world):
    with tracing(world.settings(), world.clock) as observers:
        assert observers == []


def test_without_the_extra_the_hint_names_it(world, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("opentelemetry"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match="not installed") as raised:
        with tracing(world.settings(tracing={"enabled": True}), world.clock):
            pass
    assert "voyage-jobs[otel]" in raised.value.hint


def test_trouble_is_an_error_on_call_and_step(tmp_path):
    world = World(tmp_path, faults={"auth_outage": {}})
    world.write("a.md", "# A\n\nOne.\n")
    spans = spans_of(world, turns=12, quiet=False)
    (call,) = named(spans, "POST /files")
    assert call.attributes["http.response.status_code"] == 401
    assert call.attributes["error.type"] == "401"
    assert call.status.status_code is StatusCode.ERROR
    (step,) = [span for span in named(spans, "step submit") if span.context.span_id == call.parent.span_id]
    assert step.attributes["error.type"] == "auth"


def test_a_lost_answer_has_no_status(tmp_path):
    world = World(tmp_path, faults={"answer_lost": {"on": ["create_batch"], "times": 1}})
    world.write("a.md", "# A\n\nOne.\n")
    (call,) = named(spans_of(world), "POST /batches")
    assert call.attributes["error.type"] == "lost"
    assert "http.response.status_code" not in call.attributes


def test_calls_hang_on_their_steps_and_name_the_batch(world):
    world.write("a.md", "# A\n\nOne.\n")
    spans = spans_of(world)
    (job,) = world.sim.jobs.all(world.sim.now_us())
    ref = job["metadata"]["voyage_jobs_ref"]
    by_id = {span.context.span_id: span for span in spans}
    for name, step in (
        ("POST /files", "step submit"),
        ("POST /batches", "step submit"),
        ("GET /batches/{id}", "step poll"),
        ("GET /files/{id}/content", "step collect"),
    ):
        found = named(spans, name)
        assert found, name
        for call in found:
            above = by_id[call.parent.span_id]
            assert above.name == step
            assert call.attributes["voyage_jobs.ref"] == ref
            assert above.start_time <= call.start_time <= call.end_time <= above.end_time
    (collect,) = [
        span for span in named(spans, "step collect") if "voyage_jobs.lines.success" in span.attributes
    ]
    assert collect.attributes["voyage_jobs.lines.success"] == 1


def test_steps_without_anything_to_do_leave_no_span(world):
    assert spans_of(world) == () or {span.name for span in spans_of(world)} <= {"step scan"}
    assert named(spans_of(world), "step poll") == []


def test_neither_texts_nor_names_nor_ids_nor_the_key(world):
    world.write("secret-name.md", "# planted heading\n\nplanted words\n")
    told = "".join(
        json.dumps([span.name, dict(span.attributes), [dict(e.attributes) for e in span.events]])
        for span in spans_of(world)
    )
    (job,) = world.sim.jobs.all(world.sim.now_us())
    for word in ("secret-name", "planted", KEY, job["id"], job["input_file_id"]):
        assert word not in told
