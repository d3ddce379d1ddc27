// One device: what it is, how it does now and did before, what happened, and its log when asked for.
import { el, fill, put, renew, select, table } from "./dom.js";
import { devicePath, get, may, post, query } from "./api.js";
import { age, celsius, clock, count, digits, mebibytes, moment, percent } from "./format.js";
import { Heat, Lines, figures } from "./charts.js";
import { eventTable } from "./events.js";

// name, seconds back, seconds a step
export const RANGES = [["1h", "last hour", 3600, 60], ["6h", "6 hours", 21600, 300], ["24h", "24 hours", 86400, 900], ["7d", "7 days", 604800, 3600], ["30d", "30 days", 2592000, 21600]];
export const STAGES = [["infer", "inference"], ["e2e", "end to end"], ["pre", "before"], ["post", "after"], ["queue", "waiting"]];
export const LATENCY = [["p50", "p50", (point) => point.p50_ms], ["p90", "p90", (point) => point.p90_ms], ["p99", "p99", (point) => point.p99_ms]];
const REFRESH_MS = 10000;

export function deviceView({ main, live, parts, options }) {
  const [site, device] = parts;
  const path = devicePath(site ?? "", device ?? "");
  let range = RANGES.find(([name]) => name === options.get("range")) ?? RANGES[0];
  let stage = options.get("stage") ?? "infer";
  let model = options.get("model") ?? "";
  let known = null;
  let ended = false;
  const goto = () => { location.hash = query(`#/device/${encodeURIComponent(site)}/${encodeURIComponent(device)}`, { model, stage: stage === "infer" ? "" : stage, range: range[0] === "1h" ? "" : range[0] }); };

  const said = el("p", { class: "error", role: "alert" });
  const state = el("span", { class: "state" });
  const reason = el("span", { class: "soft" });
  const seen = el("span", { class: "soft" });
  const tiles = el("dl", { class: "tiles" });
  const facts = el("dl", { class: "facts" });
  const picks = el("div", { class: "end" });
  const gap = el("p", { class: "reading" });
  const latency = new Lines("Latency", LATENCY, "ms");
  const heat = new Heat("How often each latency came");
  const gauges = [
    new Lines("Temperature", [["mean", "p50", (point) => point.gauges?.temp?.mean], ["most", "p99", (point) => point.gauges?.temp?.most]], "°C"),
    new Lines("Memory", [["mean", "p50", (point) => mib(point.gauges?.rss?.mean)], ["most", "p99", (point) => mib(point.gauges?.rss?.most)]], "MiB"),
    new Lines("Processor", [["mean", "p50", (point) => point.gauges?.cpu?.mean], ["most", "p99", (point) => point.gauges?.cpu?.most]], "%"),
    new Lines("Inferences a second", [["rate", "p50", (point) => point.rate_hz]], "/s"),
  ];
  const asTable = el("div");
  const versions = el("div");
  const events = eventTable(false);
  fill(main, said,
    el("div", { class: "head" }, el("h1", {}, device ?? ""), el("span", { class: "soft" }, site ?? ""), state, reason, seen, picks),
    tiles, facts,
    el("section", { class: "card", "aria-label": "Latency" }, el("h2", {}, "Latency over time ", el("small", {}, "ms")), latency.node, gap, asTable),
    el("section", { class: "card", "aria-label": "Heat map" }, el("h2", {}, "How often each latency came ", el("small", {}, "ms")), heat.node, heat.said),
    el("div", { class: "pair" }, gauges.map((chart) => el("section", { class: "card", "aria-label": chart.label }, el("h2", {}, `${chart.label} `, el("small", {}, chart.unit)), chart.node))),
    el("section", { class: "card" }, el("h2", {}, "Models"), versions),
    el("section", { class: "card" }, el("h2", {}, "Events"), events.node),
    logCard(path));

  function drawState() {
    if (!known) return;
    state.dataset.state = known.presence;
    put(state, known.presence);
    put(reason, known.presence === "online" ? "" : `${known.reason}, for ${age(clock.now() - known.presence_since_ms)}`);
    put(seen, `seen ${age(clock.now() - known.last_seen_ms)} ago`);
    drawTiles();
  }

  function drawTiles() {
    const latest = known.latest.find((one) => one.model === model) ?? known.latest[0];
    if (!latest) { renew(tiles); return; }
    const figure = latest.latency[stage] ?? {};
    const old = known.presence !== "online";
    const rows = [["p50", digits(figure.p50_ms), "ms"], ["p90", digits(figure.p90_ms), "ms"], ["p99", digits(figure.p99_ms), "ms"], ["Rate", digits(latest.inferences / latest.window_s), "/s"], ["Errors", count(latest.errors), ""],
      ["Temperature", celsius(latest.gauges.temp), "°C"], ["Processor", percent(latest.gauges.cpu), "%"], ["Memory", mebibytes(latest.gauges.rss), "MiB"], ["Reported", age(clock.now() - latest.at_ms), "ago"]];
    renew(tiles, rows.map(([name, value, unit]) => el("div", { class: old ? "tile old" : "tile", title: `of ${moment(latest.at_ms)}` }, el("dt", {}, name), el("dd", {}, value, el("small", {}, unit)))));
  }

  function drawFacts() {
    const labels = Object.entries(known.labels).sort().map(([name, value]) => el("span", { class: "tag" }, `${name}=${value}`));
    const rows = [["Hardware", known.hardware_name ?? known.hardware.board], ["CPU", known.hardware.cpu], ["Architecture", known.hardware.arch === known.hardware_name ? "" : known.hardware.arch], ["Agent", known.agent], ["First seen", moment(known.first_seen_ms)], ["Labels", labels.length ? labels : "none"]];
    fill(facts, rows.filter(([, value]) => value).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
    const names = known.models.map((one) => one.name);
    fill(picks,
      names.length > 1 ? select("Model", names.map((name) => [name, name]), model, (value) => { model = value; goto(); }) : null,
      select("Stage", STAGES, stage, (value) => { stage = value; goto(); }),
      select("Time", RANGES.map(([name, text]) => [name, text]), range[0], (value) => { range = RANGES.find(([name]) => name === value); goto(); }));
    const phases = new Map((known.reported?.models ?? []).map((one) => [one.name, one]));
    fill(versions, table("Models on the device", [["Model", ""], ["Version", ""], ["Runtime", ""], ["Phase", "wrap"], ["Artifact", ""], ["Reported", "num"]], known.models.map((one) => {
      const phase = phases.get(one.name);
      return [el("a", { href: `#/models/${encodeURIComponent(one.name)}` }, one.name), one.version, one.runtime, phase ? `${phase.version}: ${phase.phase}${phase.reason ? ` (${phase.reason})` : ""}` : "", el("code", {}, one.artifact.replace("sha256:", "").slice(0, 12)), `${age(clock.now() - one.seen_ms)} ago`];
    }), "It serves no model."));
  }

  async function load(first) {
    try {
      known = await get(path, { background: !first });
      if (ended) return;
      if (!known.models.some((one) => one.name === model)) model = known.latest[0]?.model ?? known.models[0]?.name ?? "";
      drawState();
      if (first) { drawFacts(); }
      const to = Math.floor(clock.now());
      const step = range[3] * 1000, from = Math.floor((to - range[2] * 1000) / step) * step;
      const answer = await get(query("/api/v1/series", { site, device, model, stage, from_ms: from, to_ms: to, step_s: range[3], histogram: 1 }), { background: !first });
      if (ended) return;
      const points = answer.groups[0]?.points ?? [];
      for (const chart of [latency, heat, ...gauges]) chart.draw(answer, points);
      const open = asTable.querySelector("details")?.open;
      fill(asTable, figures(points));
      asTable.querySelector("details").open = Boolean(open);
      const last = points.at(-1);
      put(gap, !last ? "Nothing was reported in this time." : to - last.start_ms > 3 * step + 30000 ? `No report since ${moment(known.last_report_ms ?? last.start_ms)}.` : "");
      if (first) events.add((await get(`${path}/events?limit=200`, { background: true })).events, false);
      put(said, "");
    } catch (error) {
      if (!ended) put(said, error.message);
    }
  }
  load(true);
  const timer = setInterval(() => load(false), REFRESH_MS);
  const ticking = setInterval(drawState, 1000);
  return {
    title: device,
    rows: (rows) => {
      const row = rows.get(`${site}/${device}/${model}`);
      if (row && known) { Object.assign(known, { presence: row.presence, reason: row.reason, last_seen_ms: row.last_seen_ms }); }
    },
    events: (list) => events.add(list.filter((event) => event.site === site && event.device === device), true),
    close: () => { ended = true; clearInterval(timer); clearInterval(ticking); for (const chart of [latency, heat, ...gauges]) chart.close(); },
  };
}

const mib = (value) => value === undefined || value === null ? null : value / 1048576;

/** The agent's lines, then what its workers said last. */
const logLines = (result) => [
  ...(result?.log ?? []),
  ...Object.entries(result?.workers ?? {}).flatMap(([name, told]) => [`--- worker ${name}`, ...told]),
];

/** The device's log, by command: the device sends its last lines, nothing is kept. */
function logCard(path) {
  const out = el("pre", { class: "log", tabindex: "0", "aria-label": "Log" });
  const said = el("span", { class: "soft", role: "status" });
  out.hidden = true;
  const button = el("button", { class: "button", type: "button", disabled: !may("operator"), title: may("operator") ? "" : "needs the role operator", on: { click: fetchLog } }, "Fetch the log");
  async function fetchLog() {
    button.disabled = true;
    out.hidden = true; // what it said before is not its answer
    put(said, "asking the device…");
    try {
      const { id } = await post(`${path}/commands`, { op: "log-tail", args: {}, timeout_s: 20 });
      for (let turn = 0; turn < 90; turn++) {
        const answer = await get(`${path}/commands/${encodeURIComponent(id)}`, { background: true });
        if (["done", "failed", "refused", "expired"].includes(answer.status)) {
          out.textContent = answer.status === "done" ? logLines(answer.result).join("\n") : "";
          out.hidden = answer.status !== "done";
          put(said, answer.status === "done" ? "" : answer.text || `${answer.status}${answer.reason ? `: ${answer.reason}` : ""}`);
          return;
        }
        await new Promise((resolve) => { setTimeout(resolve, 400); });
      }
      put(said, "the device has not answered");
    } catch (error) {
      put(said, error.status === 404 ? "this service sends no commands" : error.message);
    } finally {
      button.disabled = false;
    }
  }
  return el("section", { class: "card" }, el("div", { class: "head" }, el("h2", {}, "Log"), button, said), out);
}
