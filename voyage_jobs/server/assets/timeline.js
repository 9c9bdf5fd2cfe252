// Batches as a table whose last column is a time axis: one structure for eyes and for screen readers.

import { el } from "./dom.js";
import { ago, counted, duration, hour, number, plain, seconds } from "./words.js";

const WINDOW_S = 12 * 3600;
const RECENT_S = 12 * 3600;
const MOST = 24;
const REACH_S = 90 * 86400; // how far the axis goes to either side of now: one odd time must not flatten the rest
const OPEN = new Set(["packed", "spooled", "uploading", "uploaded", "creating", "running", "ended", "parked"]);
const KIND = { parked: "failed", refused: "failed", ended: "held", collected: "published", closed: "published", running: "submitted", creating: "submitted" };

/** The batches worth showing: all open ones, and those that ended in the last hours; the newest first. */
export function chosen(batches, asOf) {
  const now = seconds(asOf);
  const recent = (batch) => now - seconds(batch.collected_at ?? batch.ended_at ?? batch.created_at) < RECENT_S;
  const open = batches.filter((batch) => OPEN.has(batch.state));
  const rest = batches.filter((batch) => !OPEN.has(batch.state) && recent(batch));
  return [...open, ...rest.slice(0, Math.max(0, MOST - open.length))].slice(0, MOST);
}

/** The table, or a sentence where there is nothing to show. `look` is called with the ref of a batch. */
export function timeline(batches, asOf, look) {
  if (!batches.length) return el("p", { class: "muted" }, "No batch is open, and none ended in the last 12 hours.");
  const now = seconds(asOf);
  const spans = batches.map((batch) => span(batch, now));
  const from = Math.max(now - REACH_S, Math.min(now - 3600, ...spans.map((each) => each.from)));
  const to = Math.min(now + REACH_S, Math.max(now + 3600, ...spans.map((each) => Math.max(each.to, each.end))));
  const place = (at) => Math.min(1, Math.max(0, (at - from) / (to - from)));
  const lines = ticks(from, to);
  return el(
    "table",
    { class: "batches" },
    el("caption", { class: "hush" }, "Batches with their state, progress and window of time"),
    el(
      "thead",
      {},
      el("tr", {}, ["Batch", "State", "Done"].map((title) => el("th", { scope: "col" }, title)), el("th", { scope: "col", class: "axis" }, head(lines, now, place))),
    ),
    el("tbody", {}, batches.map((batch, at) => row(batch, spans[at], { now, asOf, place, lines, look }))),
  );
}

function span(batch, now) {
  const from = seconds(batch.submitted_at ?? batch.created_at);
  const to = batch.deadline_at ? seconds(batch.deadline_at) : from + WINDOW_S;
  const over = batch.collected_at ?? batch.ended_at;
  return { from, to, end: over ? seconds(over) : now, over: Boolean(over) };
}

function ticks(from, to) {
  const step = [900, 1800, 3600, 7200, 10800, 14400, 21600, 43200, 86400].find((each) => (to - from) / each <= 9) ?? 86400 * Math.ceil((to - from) / (9 * 86400));
  const zone = new Date(from * 1000).getTimezoneOffset() * 60;
  const found = [];
  for (let at = Math.ceil((from - zone) / step) * step + zone; at <= to; at += step) found.push(at);
  return found;
}

function head(lines, now, place) {
  const clear = (at) => Math.abs(place(at) - place(now)) > 0.055 && place(at) > 0.02 && place(at) < 0.98;
  return el(
    "div",
    { class: "axis-box" },
    el("span", { class: "hush" }, "Window"),
    lines.filter(clear).map((at) => el("span", { class: "tick", "aria-hidden": "true", vars: { at: place(at) } }, hour(at))),
    el("span", { class: "tick now", "aria-hidden": "true", vars: { at: place(now) } }, "now"),
  );
}

function row(batch, times, { now, asOf, place, lines, look }) {
  const kind = KIND[batch.state] ?? "packed";
  const late = !times.over && batch.deadline_at && now > times.to;
  const sent = batch.submitted_at !== null;
  const told = times.over
    ? `ended ${ago(batch.collected_at ?? batch.ended_at, asOf)}`
    : !sent
      ? `assembled ${ago(batch.created_at, asOf)}, not sent yet`
      : late
        ? `past its window by ${duration(now - times.to)}`
        : `${duration(times.to - now)} left of its window`;
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, el("button", { type: "button", class: "link mono", "data-key": batch.ref, on: () => look(batch.ref) }, batch.ref.slice(0, 8), el("span", { class: "hush" }, " history"))),
    el("td", {}, batch.state === "packed" ? "assembled" : batch.state, batch.remote_status && batch.state === "running" ? el("span", { class: "muted" }, ` ${plain(batch.remote_status)}`) : null),
    el("td", {}, done(batch)),
    el(
      "td",
      { class: "axis", title: told },
      el("span", { class: "hush" }, told),
      el(
        "div",
        { class: `axis-box ${kind}`, "aria-hidden": "true" },
        lines.map((at) => el("span", { class: "grid", vars: { at: place(at) } })),
        sent && el("span", { class: late ? "window over" : times.over ? "window past" : "window", vars: { from: place(times.from), span: place(times.to) - place(times.from) } }),
        el("span", { class: "done", vars: { from: place(times.from), span: Math.max(0, place(times.end) - place(times.from)) } }),
        el("span", { class: "grid now", vars: { at: place(now) } }),
      ),
    ),
  );
}

function done(batch) {
  const failed = batch.failed ? el("span", { class: "bad" }, `, ${number(batch.failed)} failed`) : null;
  if (batch.completed === null) return counted(batch.inputs, "text");
  return [`${number(batch.completed)} of ${number(batch.inputs)}`, failed];
}
