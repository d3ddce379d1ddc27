// Models: versions side by side across hardware, and over time.
import { el, fill, put, select, table } from "./dom.js";
import { get, query } from "./api.js";
import { clock, count, digits } from "./format.js";
import { LATENCY, RANGES, STAGES } from "./device.js";
import { Lines } from "./charts.js";

export function modelsView({ main, parts, options }) {
  const said = el("p", { class: "error", role: "alert" });
  let ended = false;
  let charts = [];
  const stop = () => { ended = true; for (const chart of charts) chart.close(); };
  if (!parts.length) {
    const list = el("section", { class: "card" });
    fill(main, el("div", { class: "head" }, el("h1", {}, "Models")), said, list);
    get("/api/v1/models").then(({ models }) => ended || fill(list, table("Models", [["Model", ""], ["Versions and how many devices serve them", "wrap"], ["Devices", "num"]], models.map((one) => [
      el("a", { href: `#/models/${encodeURIComponent(one.model)}` }, one.model),
      Object.entries(one.versions).map(([version, many]) => el("span", { class: "tag" }, `${version}: ${count(many)}`)),
      count(Object.values(one.versions).reduce((sum, many) => sum + many, 0)),
    ]), "No device serves a model yet.")), (error) => put(said, error.message));
    return { title: "Models", close: stop };
  }
  const model = parts[0];
  let range = RANGES.find(([name]) => name === options.get("range")) ?? RANGES[0];
  let stage = options.get("stage") ?? "infer";
  const goto = () => { location.hash = query(`#/models/${encodeURIComponent(model)}`, { stage: stage === "infer" ? "" : stage, range: range[0] === "1h" ? "" : range[0] }); };
  const side = el("section", { class: "card" }, el("h2", {}, "Versions across hardware"), el("p", { class: "empty" }, "Adding up…"));
  const over = el("div", { class: "pair" });
  fill(main, el("div", { class: "head" }, el("h1", {}, model), el("a", { href: "#/models" }, "all models"),
    el("div", { class: "end" }, select("Stage", STAGES, stage, (value) => { stage = value; goto(); }), select("Time", RANGES.map(([name, text]) => [name, text]), range[0], (value) => { range = RANGES.find(([name]) => name === value); goto(); }))),
  said, side, over);

  async function load() {
    const to = Math.floor(clock.now()), step = range[3] * 1000, from = Math.floor((to - range[2] * 1000) / step) * step;
    try {
      const whole = await get(query("/api/v1/series", { model, stage, from_ms: from, to_ms: to, step_s: 0, group: "version,hardware" }));
      if (ended) return;
      const lines = whole.groups.map(({ keys, points }) => ({ ...keys, ...points[0] })).sort((a, b) => a.hardware.localeCompare(b.hardware) || a.version.localeCompare(b.version, "en", { numeric: true }));
      const most = Math.max(...lines.map((line) => line.p99_ms ?? 0));
      fill(side, el("h2", {}, "Versions across hardware"), table("Versions across hardware", [["Hardware", "wrap"], ["Version", ""], ["p50 ms", "num"], ["p90 ms", "num"], ["p99 ms", "num"], ["p50 to p99", ""], ["Against the first", "num"], ["Measured", "num"], ["Errors", "num"]],
        lines.map((line) => [line.hardware, line.version, digits(line.p50_ms), digits(line.p90_ms), digits(line.p99_ms), spread(line, most), against(line, lines), count(line.count), share(line)]), "Nothing was measured in this time."));
      const byVersion = await get(query("/api/v1/series", { model, stage, from_ms: from, to_ms: to, step_s: range[3], group: "version" }));
      if (ended) return;
      for (const { group, points } of byVersion.groups) {
        const chart = new Lines(`Version ${group}`, LATENCY, "ms");
        charts.push(chart);
        over.append(el("section", { class: "card", "aria-label": chart.label }, el("h2", {}, `${chart.label} `, el("small", {}, "ms, on all hardware")), chart.node));
        chart.draw(byVersion, points);
      }
    } catch (error) {
      if (!ended) put(said, error.message);
    }
  }
  load();
  return { title: model, close: stop };
}

/** Where median and 99th percentile lie, on one scale for all. */
function spread(line, most) {
  if (!line.p99_ms || !most) return "";
  const left = 100 * line.p50_ms / most, right = 100 * line.p99_ms / most;
  const bar = el("i"), median = el("b"), tail = el("b", { class: "p99" });
  bar.style.left = `${left}%`;
  bar.style.width = `${right - left}%`;
  median.style.left = `${left}%`;
  tail.style.left = `calc(${right}% - 3px)`;
  return el("div", { class: "range", "aria-hidden": "true" }, bar, median, tail);
}

/** How much faster or slower the 99th percentile is than that of the first version on the same hardware. */
function against(line, lines) {
  const first = lines.find((other) => other.hardware === line.hardware);
  if (first === line || !first.p99_ms || !line.p99_ms) return "";
  const percent = 100 * (line.p99_ms / first.p99_ms - 1);
  return el("span", { class: `verdict ${percent > 5 ? "bad" : percent < -5 ? "good" : ""}` }, `p99 ${percent > 0 ? "+" : "−"}${Math.abs(percent).toFixed(1)} %`);
}

const share = (line) => line.errors ? `${count(line.errors)} (${(100 * line.errors / (line.errors + line.inferences)).toFixed(2)} %)` : "0";
