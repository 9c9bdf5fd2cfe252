// The page: asks for the same reports that the command line prints, and shows them. It changes nothing.

import { el, fill, say, table } from "./dom.js";
import { address, pieces } from "./marks.js";
import { chosen, timeline } from "./timeline.js";
import { UNKNOWN, ago, counted, duration, moment, number, plain, usd } from "./words.js";

const LEAST_WAIT_MS = 2000;
const FRESH_S = 12 * 3600; // a change may take that long by the provider's promise
const LATE_S = 14 * 3600;
const $ = (id) => document.getElementById(id);

// --- asking ---

class Refused extends Error {}

async function ask(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" }, credentials: "same-origin" });
  if (answer.status === 401) location.assign("/login");
  const body = await answer.json();
  if (!answer.ok) {
    const { message, hint } = body.error ?? { message: `The server answers ${answer.status}.` };
    throw Object.assign(new Refused(message), { hint });
  }
  return { body, kept_s: Number(answer.headers.get("X-Kept-Seconds") ?? 0) };
}

let paused = false;
let timer = 0;
let asking = false;
let lastSeen = null;

async function look() {
  if (asking) return;
  asking = true;
  clearTimeout(timer);
  let wait = LEAST_WAIT_MS;
  try {
    const status = await ask("/api/status");
    wait = Math.max(wait, status.kept_s * 1000);
    showStatus(status.body);
    lastSeen = status.body.as_of;
    const known = status.body.batches !== null;
    const [batches, failures] = await Promise.all([
      known ? ask("/api/batches") : null,
      known && failed(status.body) ? ask("/api/failures") : null,
    ]);
    showBatches(batches?.body ?? null, status.body.as_of);
    showFailures(failures?.body ?? null, status.body);
    fill($("connection"), null, () => []);
  } catch (error) {
    const since = lastSeen ? ` What you see is of ${moment(lastSeen)}.` : "";
    const told = error instanceof Refused ? error.message : "voyage-jobs does not answer.";
    fill($("connection"), told + since, () => el("p", { class: "notice bad" }, plain(told), since));
    say($("health"), "Not answering", "pill bad");
    wait = 5000;
  } finally {
    asking = false;
    document.body.dataset.seen = String(Number(document.body.dataset.seen ?? 0) + 1);
  }
  if (!paused && !document.hidden) timer = setTimeout(look, wait);
}

const failed = (report) => (report.chunks.failed ?? 0) > 0;

// --- the report ---

function showStatus(report) {
  const real = report.problems.filter((problem) => problem.severity === "problem");
  const word = report.healthy ? "Healthy" : counted(real.length, "problem");
  say($("health"), word, `pill ${report.healthy ? "good" : "bad"}`);
  document.title = `${report.healthy ? "" : "(!) "}voyage-jobs`;
  const { daemon } = report;
  const beat = daemon.heartbeat_age_s === null ? "" : `, last heartbeat ${duration(daemon.heartbeat_age_s)} ago`;
  const at = daemon.step ? `, at ${daemon.step}` : "";
  say($("process"), daemon.running ? `Process ${daemon.pid}${daemon.mode ? ` (${daemon.mode})` : ""}${at}${beat}` : "No process is running");
  say($("as-of"), `as of ${moment(report.as_of)}`);
  showProblems(report.problems);
  showFlow(report);
  showMoney(report);
  showSources(report);
  const { uri, name, rows, version } = report.table;
  say($("table-note"), `Table ${name} in ${plain(uri)}: ${number(rows)} rows${version === null ? "" : `, version ${version}`}.`);
}

function showProblems(problems) {
  $("problems").hidden = problems.length === 0;
  fill($("problem-list"), problems, () =>
    problems.map((problem) =>
      el(
        "li",
        { class: problem.severity },
        el("strong", { title: problem.code }, spoken(problem.code)),
        problem.severity === "info" ? el("span", { class: "hush" }, "(a note) ") : null,
        plain(problem.message),
        problem.hint ? el("p", { class: "muted" }, commands(problem.hint)) : null,
      ),
    ),
  );
}

/** A sentence in which what stands between backticks is code. */
const commands = (text) => plain(text).split("`").map((part, at) => (at % 2 ? el("code", {}, part) : part));

function showFlow(report) {
  const { chunks, sources, batches } = report;
  const sum = (key) => sources.reduce((all, source) => (all === null || source[key] === null ? null : all + source[key]), 0);
  const documents = sum("documents");
  const open = (report.open_batches ?? []).length;
  const stages = [
    ["", "Documents", documents, documents === null ? "not scanned yet" : `in ${counted(sources.length, "folder")}`],
    ["waiting", "Waiting", chunks.waiting, report.tokens.estimated ? `${number(report.tokens.estimated)} tokens` : "to be sent"],
    ["packed", "Assembled", chunks.packed, "not sent yet"],
    ["submitted", "At the provider", chunks.submitted, batches === null ? "" : `in ${counted(open, "open batch", "open batches")}`],
    ["held", "Arrived", chunks.held, "to be published"],
    ["published", "In the table", chunks.published, chunks.failed ? `${number(chunks.failed)} failed` : "chunks"],
  ];
  fill($("stages"), stages, () =>
    stages.map(([kind, what, count, aside]) =>
      el("li", { class: kind }, el("span", { class: "what" }, what), el("strong", { class: "count" }, number(count)), el("span", { class: "aside" }, aside)),
    ),
  );
  const places = Object.entries(chunks).filter(([, count]) => count);
  const total = places.reduce((all, [, count]) => all + count, 0);
  const bar = $("share");
  bar.setAttribute("aria-label", total ? `${number(total)} chunks: ${places.map(([place, count]) => `${number(count)} ${place}`).join(", ")}` : "No chunks yet");
  fill(bar, places, () => places.map(([place, count]) => el("span", { class: place, vars: { part: count / total } })));
  say($("flow-note"), total ? `Counted in chunks. ${number(total)} in all, including old versions that the table still serves.` : "Nothing was scanned yet.");
}

function showMoney(report) {
  const { tokens, cost_usd: cost } = report;
  const figures = [
    ["Paid", "settled"],
    ["Reserved", "reserved"],
    ["Waiting", "estimated"],
    ["Saved by reuse", "saved"],
  ].map(([title, key]) => [title, cost[key], tokens[key]]);
  fill($("money"), [figures, tokens.exact], () =>
    figures.map(([title, dollars, count]) =>
      el("div", {}, el("dt", {}, title), el("dd", {}, usd(dollars), el("small", {}, `${number(count)} tokens`))),
    ),
  );
  const budgets = report.budgets ?? [];
  fill($("budgets"), [budgets, budgets.length && report.as_of], () =>
    budgets.length
      ? budgets.map((budget) => meter(budget, report.as_of))
      : el("p", { class: "muted" }, report.budgets === null ? "Not known." : "No limit is set. ", report.budgets === null ? null : [el("code", {}, "[budget]"), " in the configuration sets one."]),
  );
}

const SPANS = { daily: "Per day", monthly: "Per month" };

function meter({ key, source, unit, limit, used, anew_at }, asOf) {
  const part = limit > 0 ? used / limit : 1;
  const span = SPANS[key.split("_")[0]] ?? "Per run";
  const name = source ? `${span}, ${source}` : span;
  const told = unit === "usd" ? `${usd(used)} of ${usd(limit)}` : `${number(used)} of ${number(limit)} tokens`;
  const share = `${Math.round(part * 100)} %`;
  return el(
    "div",
    { class: `meter ${part >= 0.995 ? "bad" : part >= 0.8 ? "warn" : ""}` },
    el("div", { class: "line" }, el("span", { title: key }, name), el("span", {}, `${told} (${share})`)),
    el(
      "div",
      { class: "bar", role: "meter", "aria-label": name, "aria-valuemin": "0", "aria-valuemax": limit, "aria-valuenow": Math.min(used, limit), "aria-valuetext": `${told}, ${share}` },
      el("span", { vars: { part } }),
    ),
    el("div", { class: "line" }, el("span", { class: "muted" }, anew_at ? `resets ${ago(anew_at, asOf)}` : "for one run")),
  );
}

function showSources(report) {
  fill($("source-box"), [report.sources, report.as_of], () =>
    table(
      "Sources: documents, what the table shows of them, and how fresh that is",
      [["Source", "wide"], ["Documents", "num"], ["In the table", "num"], ["On the way", "num"], ["Skipped", "num"], ["Oldest unpublished change", ""], ["Last scan", "whole"], ["State", "whole"]],
      report.sources.map((source) => [
        [
          source.name,
          el("div", { class: "muted mono" }, plain(source.path)),
          source.frozen === null ? null : el("div", { class: "warn why" }, plain(source.frozen)),
        ].filter(Boolean),
        number(source.documents),
        number(source.published_documents),
        number(source.unpublished_documents),
        skipped(source.skipped),
        freshness(source),
        source.scanned_at ? el("span", { title: moment(source.scanned_at) }, ago(source.scanned_at, report.as_of)) : "never",
        state(source),
      ]),
    ),
  );
}

function skipped(reasons) {
  if (reasons === null) return UNKNOWN;
  const all = Object.values(reasons).reduce((sum, count) => sum + count, 0);
  const told = Object.entries(reasons).map(([reason, count]) => `${number(count)} ${reason.replaceAll("_", " ")}`).join(", ");
  return all ? [number(all), el("div", { class: "muted" }, told)] : "0";
}

function freshness(source) {
  if (source.documents === null) return UNKNOWN;
  const age = source.oldest_unpublished_s;
  if (age === null) return el("span", { class: "good" }, "none");
  const kind = age > LATE_S ? "bad" : age > FRESH_S ? "warn" : "";
  return [
    el("span", { class: `fresh meter ${kind}`, "aria-hidden": "true" }, el("span", { class: "bar" }, el("span", { vars: { part: age / LATE_S } }))),
    el("span", { class: kind }, duration(age)),
  ];
}

function state(source) {
  if (source.frozen !== null) return el("strong", { class: "warn" }, "frozen");
  if (!source.configured) return el("span", { class: "warn" }, "not configured");
  if (!source.scanned_at) return "not scanned yet";
  return source.unpublished_documents ? "in flight" : el("span", { class: "good" }, "up to date");
}

// --- batches and failures ---

function showBatches(listing, asOf) {
  const batches = listing === null ? null : chosen(listing.batches, asOf);
  const minute = Math.floor(Date.parse(asOf) / 30000);
  const parts = batches?.map(({ cost_usd, ...rest }) => rest);
  fill($("batch-box"), [parts, minute], () =>
    batches === null ? el("p", { class: "muted" }, "Not known.") : timeline(batches, asOf, tell),
  );
}

function showFailures(report, status) {
  const count = status.chunks.failed;
  fill($("failure-box"), [report?.reasons, report?.complete, count], () => {
    if (count === null) return el("p", { class: "muted" }, "Not known.");
    if (!report?.reasons.length) {
      return el("p", { class: count ? "" : "muted" }, count ? `${counted(count, "chunk")} ${count === 1 ? "was" : "were"} cancelled; retry sends them again.` : "Nothing has failed.");
    }
    return [
      el("p", {}, `${counted(count, "chunk")} could not be embedded. `, el("code", {}, "voyage-jobs retry"), " tries again."),
      el(
        "ol",
        { class: "reasons" },
        report.reasons.map((reason) =>
          el(
            "li",
            {},
            plain(reason.reason),
            el("span", { class: "muted" }, ` (${counted(reason.chunks, "chunk")})`),
            el("ul", {}, reason.documents.map((document) => el("li", {}, reference(`${document.source}:${document.path}`)))),
          ),
        ),
      ),
      report.complete ? null : el("p", { class: "muted" }, "And more."),
    ].filter(Boolean);
  });
}

/** A word that leads to its history. */
const reference = (ref, shown = ref) =>
  el("button", { type: "button", class: "link", "data-key": ref, on: () => tell(ref) }, plain(shown));

// --- one thing's history ---

const HISTORY = "#history:";

/** Show a story, and leave its address in the address bar. */
function tell(ref) {
  const address = HISTORY + encodeURIComponent(ref.toWellFormed?.() ?? ref);
  if (location.hash === address) showHistory(ref);
  else location.hash = address;
}

async function showHistory(ref) {
  $("ref").value = ref;
  const box = $("story");
  box.setAttribute("aria-busy", "true");
  try {
    const { body } = await ask(`/api/history?ref=${encodeURIComponent(ref)}`);
    box.replaceChildren(story(body));
  } catch (error) {
    box.replaceChildren(sorry(error));
  }
  box.removeAttribute("aria-busy");
  $("lookup").scrollIntoView();
  box.focus({ preventScroll: true });
}

const sorry = (error) =>
  el("div", { class: "story" }, el("p", { class: "bad" }, plain(error.message)), error.hint ? el("p", {}, commands(error.hint)) : null);

function story(told) {
  const facts = Object.entries(told.facts).filter(([, value]) => !empty(value));
  const parts = Object.entries(told).filter(([key, rows]) => key !== "events" && Array.isArray(rows) && rows.length);
  return el(
    "article",
    { class: "story" },
    el("h3", {}, `${told.kind} `, el("span", { class: "mono" }, plain(told.ref))),
    el("p", {}, plain(told.summary)),
    told.next ? el("p", {}, "Next: ", commands(told.next)) : null,
    facts.length ? el("dl", { class: "facts" }, facts.flatMap(([key, value]) => [el("dt", {}, spoken(key)), el("dd", {}, cell(value))])) : null,
    told.events.length
      ? [el("h3", {}, "What happened"), el("ol", { class: "events" }, told.events.map(({ at, what }) => el("li", {}, el("time", { datetime: at }, moment(at)), plain(what))))]
      : null,
    parts.map(([name, rows]) => part(name, rows)),
  );
}

const MOST_ROWS = 100;
const LONG_CHARS = 44;

function part(name, rows) {
  const keys = [...new Set(rows.flatMap((row) => Object.keys(row).filter((key) => !empty(row[key]))))];
  const title = `${spoken(name)} (${number(rows.length)})`;
  const body = rows.slice(0, MOST_ROWS).map((row) => keys.map((key) => (key === "batch" && row[key] ? reference(row[key], row[key].slice(0, 8)) : short(cell(row[key])))));
  return el(
    "details",
    { "data-key": name },
    el("summary", {}, title),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title }, table(title, keys.map((key) => [spoken(key), typeof rows[0][key] === "number" ? "num" : ""]), body)),
    rows.length > MOST_ROWS ? el("p", { class: "muted" }, `The first ${MOST_ROWS}; `, el("code", {}, "voyage-jobs history --json"), " has all.") : null,
  );
}

const short = (text) => (text.length > LONG_CHARS ? el("span", { class: "long" }, text) : text);
const empty = (value) => value === null || value === undefined || value === "" || (typeof value === "object" && Object.keys(value).length === 0);
const spoken = (key) => key.replaceAll("_", " ");

function cell(value) {
  if (empty(value)) return "-";
  if (Array.isArray(value)) return value.map(cell).join(", ");
  if (typeof value === "object") return Object.entries(value).filter(([, inner]) => !empty(inner)).map(([key, inner]) => `${spoken(key)} ${cell(inner)}`).join(", ");
  return typeof value === "number" ? (Number.isInteger(value) ? number(value) : String(Number(value.toPrecision(6)))) : plain(value);
}

// --- the table ---

/** Search; `narrowed` holds what was chosen of the facets: by `source`, `folder`, or `field:NAME`. */
async function search(query, mode, narrowed = {}) {
  const box = $("hits");
  box.setAttribute("aria-busy", "true");
  if (!box.childElementCount) box.replaceChildren(el("p", { class: "muted" }, "Searching ..."));
  const asked = new URLSearchParams({ q: query, mode });
  for (const [name, value] of Object.entries(narrowed)) {
    if (name === "source") asked.set("source", value);
    else if (name === "folder") asked.set("path", `${literal(value)}/**`);
    else asked.append("field", `${name.slice(FIELD.length)}:${value}`);
  }
  try {
    const { body } = await ask(`/api/search?${asked}`);
    const again = (name, value) => {
      const { [name]: before, ...rest } = narrowed;
      search(query, mode, before === value ? rest : { ...narrowed, [name]: value });
    };
    const held = document.activeElement?.closest("#hits .facets") ? document.activeElement.dataset.key : null;
    box.replaceChildren(...found(body, narrowed, again));
    if (held) [...box.querySelectorAll(".facets button")].find((each) => each.dataset.key === held)?.focus();
  } catch (error) {
    box.replaceChildren(sorry(error));
  }
  box.removeAttribute("aria-busy");
}

const FIELD = "field:";

/** A name as a glob that matches it alone. */
const literal = (name) => name.replace(/[*?[]/g, "[$&]");

/** What hits can be narrowed by: [name, title, counts by value, what is shown of a value]. */
const groups = (counts) => [
  ["source", "Source", counts.source, plain],
  ["folder", "Folder", counts.folder, plain],
  ...Object.entries(counts.fields).map(([name, values]) => [FIELD + name, plain(name), values, (json) => plain(String(JSON.parse(json)))]),
];

function facets(counts, narrowed, again) {
  const there = groups(counts);
  const chosen = Object.keys(narrowed).filter((name) => !there.some(([known]) => known === name));
  for (const name of chosen) there.push([name, plain(name.slice(FIELD.length)), {}, (json) => plain(String(JSON.parse(json)))]);
  return there.map(([name, title, values, told]) => {
    const held = narrowed[name];
    const shown = Object.entries(held === undefined || held in values ? values : { ...values, [held]: 0 });
    if (shown.length < 2 && held === undefined) return null;
    return el(
      "p",
      { class: "facets", role: "group", "aria-label": title },
      el("span", { class: "muted" }, title),
      shown.map(([value, count]) =>
        el("button", { type: "button", "data-key": `${name} ${value}`, "aria-pressed": String(held === value), on: () => again(name, value) }, `${told(value)} (${number(count)})`),
      ),
    );
  });
}

function found({ hits, words, more, complete, looked_at, warnings, facets: counts }, narrowed, again) {
  const told = warnings.map((warning) => el("p", { class: "muted" }, plain(warning)));
  const where = complete ? `${number(looked_at)} rows` : `the first ${number(looked_at)} rows: the time for one search was over`;
  const choice = facets(counts, narrowed, again).filter(Boolean);
  if (!hits.length) return [...told, ...choice, el("p", {}, `Nothing was found. Looked at ${where}.`)];
  return [
    ...told,
    ...choice,
    el("p", { class: "muted" }, `${hits.length}${more ? " best of more" : ""} found; looked at ${where}.`),
    el(
      "ol",
      { class: "hits" },
      hits.map((hit) => el("li", {}, reference(`${hit.source}:${hit.path}`), section(hit), el("p", {}, marked(plain(hit.snippet), words)))),
    ),
  ];
}

/** The headings above a hit; a link where the document, or its section, has an address. */
function section(hit) {
  const told = hit.section.map(plain).join(" > ") || (address(hit.url) ? plain(hit.title) || "open" : "");
  if (!told) return null;
  const link = address(hit.url);
  return el("span", { class: "muted" }, " ", link ? el("a", { href: link, target: "_blank", rel: "noopener noreferrer" }, told) : told);
}

/** The text in pieces, with the words that were looked for marked. */
const marked = (text, words) => pieces(text, words).map(([part, is]) => (is ? el("mark", {}, part) : part));

/** `/` leads to the search, the arrows from hit to hit. */
function byKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input, select, textarea");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    $("q").focus();
  }
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || !event.target.closest("#hits, #q")) return;
  const all = [...document.querySelectorAll("#hits .hits > li > button")];
  const next = all[all.indexOf(event.target.closest("li")?.querySelector("button")) + step];
  if (next) {
    event.preventDefault();
    next.focus();
  }
}

// --- begin ---

$("lookup-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const ref = $("ref").value.trim();
  if (ref) tell(ref);
});
$("find-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const query = $("q").value.trim();
  if (query) search(query, $("mode").value);
});
document.addEventListener("keydown", byKey);
$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  if (!paused) look();
  else clearTimeout(timer);
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !paused) look();
});

function heedAddress() {
  if (!location.hash.startsWith(HISTORY)) return;
  try {
    showHistory(decodeURIComponent(location.hash.slice(HISTORY.length)));
  } catch {
    // not an address of ours
  }
}
addEventListener("hashchange", heedAddress);
heedAddress();
look();
