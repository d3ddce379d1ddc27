// Charts of figures over time. A step without a report is a gap, and nothing is drawn after the last report.
import { el } from "./dom.js";
import { digits, moment } from "./format.js";

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const GUTTER = 56;
const HEIGHT = 210;

/** Put the points of a line on every step from the first to the last one that was reported. */
function steps(answer, points) {
  const at = new Map(points.map((point) => [point.start_ms, point]));
  const found = [];
  const last = points.length ? points[points.length - 1].start_ms : answer.from_ms;
  const width = answer.step_s * 1000;
  for (let ms = points.length ? points[0].start_ms : last; ms <= last; ms += width) found.push(at.get(ms) ?? { start_ms: ms });
  return found;
}

const DAY = 86400;
// 24 hours, and the date where a new one begins
const times = [[DAY, "{YYYY}-{MM}-{DD}", null, null, null, null, null, null, 1], [60, "{HH}:{mm}", "\n{YYYY}-{MM}-{DD}", null, "\n{MM}-{DD}", null, null, null, 1], [1, "{HH}:{mm}:{ss}", "\n{MM}-{DD}", null, null, null, null, null, 1]];
const plain = (one) => one === null ? "" : String(Number(one.toPrecision(4)));

/** Round figures on a logarithmic axis, as many as there is room for. */
function rounds(low, high) {
  for (const mantissas of [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 7], [1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9]]) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
      for (const mantissa of mantissas) { const value = mantissa * 10 ** power; if (value >= low && value <= high) found.push(value); }
    }
    if (found.length >= 3) return found;
  }
  return [low, high];
}

function axis(extra = {}) {
  return { stroke: color("soft"), grid: { stroke: color("line"), width: 1 }, ticks: { stroke: color("line"), width: 1 }, font: "12px system-ui, sans-serif", ...extra };
}

class Chart {
  constructor(label) {
    this.label = label;
    this.node = el("div", { class: "chart", role: "img", "aria-label": label });
    this.watch = new ResizeObserver(() => this.fit());
    this.watch.observe(this.node);
    this.themed = () => this.answer && this.draw(this.answer, this.points);
    addEventListener("themechange", this.themed);
  }

  fit() {
    const width = this.node.clientWidth;
    if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
  }

  make(options, data) {
    this.plot?.destroy();
    this.plot = new uPlot({ width: Math.max(240, this.node.clientWidth || 600), height: HEIGHT, padding: [8, 12, 0, 0], cursor: { sync: { key: "time" }, y: false, drag: { x: false } }, ...options }, data, this.node);
  }

  close() {
    this.watch.disconnect();
    removeEventListener("themechange", this.themed);
    this.plot?.destroy();
  }
}

const scaleX = (answer) => ({ time: true, range: () => [answer.from_ms / 1000, answer.to_ms / 1000] });

/** A point between two gaps has no line to be seen by. */
function alone(plot, at) {
  const values = plot.data[at];
  return values.flatMap((value, index) => value !== null && (values[index - 1] ?? null) === null && (values[index + 1] ?? null) === null ? [index] : []);
}

/** Lines: series are [name, color, value(point)]. */
export class Lines extends Chart {
  constructor(label, series, unit) {
    super(label);
    Object.assign(this, { series, unit });
  }

  draw(answer, points) {
    Object.assign(this, { answer, points });
    const all = steps(answer, points);
    const value = (pick) => (point) => point.reports === undefined ? null : pick(point) ?? null;
    const data = [all.map((point) => point.start_ms / 1000), ...this.series.map(([, , pick]) => all.map(value(pick)))];
    const lines = this.series.map(([name, ink]) => ({ label: name, stroke: color(ink), width: 1.6, points: { show: true, size: 4, filter: alone }, spanGaps: false, value: (_, one) => one === null || one === undefined ? "–" : `${digits(one)} ${this.unit}` }));
    this.make({
      scales: { x: scaleX(answer), y: { range: (_, low, high) => high === null ? [0, 1] : [Math.min(0, low), high * 1.08 || 1] } },
      axes: [axis({ values: times }), axis({ size: GUTTER, values: (_, list) => list.map(plain) })],
      series: [{ label: "time", value: (_, s) => s === null ? "–" : moment(s * 1000) }, ...lines],
      legend: { live: true },
    }, data);
    const last = points[points.length - 1];
    this.node.setAttribute("aria-label", last ? `${this.label}: ${this.series.map(([name, , pick]) => `${name} ${digits(pick(last))} ${this.unit}`).join(", ")} at ${moment(last.start_ms)}` : `${this.label}: nothing reported`);
  }
}

/** How often each latency came, over time: a column a step, a row a bucket, darker where there are more. */
export class Heat extends Chart {
  constructor(label) {
    super(label);
    this.said = el("p", { class: "reading" }, " ");
  }

  draw(answer, points) {
    Object.assign(this, { answer, points });
    const cells = points.filter((point) => point.histogram).map((point) => ({ start: point.start_ms / 1000, count: point.count, rows: buckets(point.histogram) }));
    const low = Math.min(...cells.map((cell) => cell.rows[0]?.[0] ?? Infinity)), high = Math.max(...cells.map((cell) => cell.rows.at(-1)?.[1] ?? 0));
    const ends = Number.isFinite(low) && high > low ? [low * 0.98, high * 1.02] : [1, 10];
    const paint = (plot) => {
      const ink = plot.ctx, rgb = color("heat");
      ink.save();
      for (const cell of cells) {
        const left = plot.valToPos(cell.start, "x", true), right = Math.min(plot.valToPos(cell.start + answer.step_s, "x", true), plot.bbox.left + plot.bbox.width); // the newest goes on
        for (const [from, to, many] of cell.rows) {
          if (!many) continue;
          const top = plot.valToPos(to, "y", true), bottom = plot.valToPos(from, "y", true);
          ink.fillStyle = `rgba(${rgb},${(0.08 + 0.92 * Math.sqrt(many / cell.count)).toFixed(3)})`;
          ink.fillRect(left, top, Math.max(1, right - left - (right - left > 6 ? 1 : 0)), Math.max(1, bottom - top));
        }
      }
      ink.restore();
    };
    const read = (plot) => {
      const { left, top } = plot.cursor;
      if (left === undefined || left < 0) { this.said.textContent = " "; return; }
      const s = plot.posToVal(left, "x"), ms = plot.posToVal(top, "y");
      const cell = cells.find((one) => s >= one.start && s < one.start + answer.step_s);
      const row = cell?.rows.find(([from, to]) => ms > from && ms <= to);
      this.said.textContent = cell ? `${moment(cell.start * 1000)} – ${row ? `${digits(row[0])} to ${digits(row[1])} ms: ${row[2].toLocaleString("en")} of ${cell.count.toLocaleString("en")}` : `${cell.count.toLocaleString("en")} measured`}` : " ";
    };
    const x = cells.length ? cells.map((cell) => cell.start) : [answer.from_ms / 1000];
    this.make({
      scales: { x: scaleX(answer), y: { distr: 3, range: () => ends } },
      axes: [axis({ values: times }), axis({ size: GUTTER, grid: { show: false }, splits: () => rounds(...ends), values: (_, list) => list.map(plain), filter: (_, list) => list })],
      series: [{}, { paths: () => null, points: { show: false } }],
      legend: { show: false }, cursor: { sync: { key: "time" }, drag: { x: false }, points: { show: false } },
      hooks: { draw: [paint], setCursor: [read] },
    }, [x, x.map(() => ends[0])]);
    this.node.setAttribute("aria-label", cells.length ? `${this.label}: from ${digits(low)} to ${digits(high)} ms` : `${this.label}: nothing reported`);
  }
}

/** The buckets of a histogram as [from ms, to ms, count]; four neighbours of scale 4 make one row. */
function buckets({ scale, offset, counts }) {
  const join = 2 ** Math.max(0, scale - 3);
  const rows = new Map();
  counts.forEach((many, at) => { const row = Math.floor((offset + at) / join); rows.set(row, (rows.get(row) ?? 0) + many); });
  const base = 2 ** (join / 2 ** scale);
  return [...rows].sort(([a], [b]) => a - b).map(([row, many]) => [1000 * base ** row, 1000 * base ** (row + 1), many]);
}

/** The same figures for who cannot see the chart. */
export function figures(points) {
  const rows = points.slice(-60).reverse().map((point) => el("tr", {}, [moment(point.start_ms), digits(point.p50_ms), digits(point.p90_ms), digits(point.p99_ms), String(point.count), String(point.errors)].map((text, at) => el("td", { class: at ? "num" : "" }, text))));
  const body = el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ["Step from", "p50 ms", "p90 ms", "p99 ms", "measured", "errors"].map((text, at) => el("th", { scope: "col", class: at ? "num" : "" }, text)))), el("tbody", {}, rows)));
  return el("details", {}, el("summary", {}, "As a table"), body);
}

