// The fleet: a row for each device and model, live.
import { el, fill, put } from "./dom.js";
import { Grid } from "./grid.js";
import { age, celsius, clock, count, digits, mebibytes, percent, moment } from "./format.js";
import { get, query } from "./api.js";

export const STATES = ["online", "stale", "offline", "stopped", "unknown"];
const link = (row) => `#/device/${encodeURIComponent(row.site)}/${encodeURIComponent(row.device)}`;
const figure = (name, label, title, show = digits) => ({ name, label, title, kind: "num old", text: (row) => show(row[name]), order: (row) => row[name],
  hint: (row) => row.at_ms ? `${title}: of ${moment(row.at_ms)}` : title });
const word = (name, label, kind = "") => ({ name, label, kind, text: (row) => row[name] ?? "", order: (row) => row[name] || null });

export const COLUMNS = [
  word("device", "Device"), word("site", "Site"),
  { name: "presence", label: "Presence", kind: "state", text: (row) => row.presence, order: (row) => STATES.indexOf(row.presence), state: (row) => row.presence, hint: (row) => row.reason },
  { ...word("reason", "Reason", "soft"), text: (row) => row.presence === "online" ? "" : row.reason },
  word("model", "Model"), word("version", "Version"),
  figure("p50_ms", "p50 ms", "Median inference, last report"), figure("p99_ms", "p99 ms", "99th percentile of inference, last report"),
  figure("rate_hz", "per s", "Inferences a second"), figure("errors", "errors", "Errors in the last report", count),
  figure("temp", "°C", "Temperature", celsius), figure("cpu", "CPU %", "Processor", percent), figure("rss", "MiB", "Memory of the model's process", mebibytes),
  word("hardware", "Hardware", "soft"),
  { name: "last_seen_ms", label: "Seen", kind: "num", text: (row) => age(clock.now() - row.last_seen_ms), order: (row) => row.last_seen_ms ? -row.last_seen_ms : null, hint: (row) => moment(row.last_seen_ms) },
];

export function fleetView({ main, live, options }) {
  let filter = options.get("filter") ?? "";
  let state = options.get("state") ?? "";
  let all = live.rows;
  const [sortName, sortWay] = (options.get("sort") ?? "device").split(" ");
  const grid = new Grid("Devices and their models", COLUMNS, {
    href: link, open: (row) => { location.hash = link(row); },
    stale: (row) => row.presence !== "online", sort: { name: sortName, down: sortWay === "down" },
  });
  const keep = () => history.replaceState(null, "", query("#/fleet", { filter, state, sort: grid.sort.name === "device" && !grid.sort.down ? "" : `${grid.sort.name}${grid.sort.down ? " down" : ""}` }));
  grid.changed = keep;
  const counts = Object.fromEntries(STATES.map((name) => [name, el("b", {}, "0")]));
  const buttons = STATES.map((name) => el("button", { type: "button", "aria-pressed": String(state === name), on: { click: () => { state = state === name ? "" : name; show(); keep(); } } },
    counts[name], el("span", { class: "state", "data-state": name }, name)));
  const said = el("p", { class: "error small", role: "alert", id: "filter-said" });
  const shown = el("span", { class: "soft", "aria-live": "off" });
  const box = el("input", { type: "search", "aria-label": "Filter devices", "aria-describedby": "filter-said", placeholder: "label.room=lab and model=kws and not state=offline and version<1.3", value: filter, spellcheck: "false",
    on: { change: () => ask(box.value.trim()), keydown: (event) => { if (event.key === "Escape") { box.value = ""; ask(""); } else if (event.key === "Enter") ask(box.value.trim()); }, search: () => { if (!box.value) ask(""); } } });

  let turn = 0;
  async function ask(text) {
    const mine = ++turn; // an answer to what was asked before must not take the place of a later one
    if (text === filter && !said.textContent) return;
    try {
      if (text) await get(query("/api/v1/devices", { filter: text, limit: 1 }));
      if (mine !== turn) return;
    } catch (error) {
      if (mine !== turn) return;
      box.setAttribute("aria-invalid", "true");
      put(said, [error.message, ...(error.hints ?? [])].join(" – "));
      return;
    }
    box.removeAttribute("aria-invalid");
    put(said, "");
    filter = text;
    keep();
    live.open(filter);
  }

  function show() {
    const devices = new Map();
    const rows = [];
    for (const row of all.values()) {
      devices.set(`${row.site}/${row.device}`, row.presence);
      if (!state || row.presence === state) rows.push(row);
    }
    const sums = Object.fromEntries(STATES.map((name) => [name, 0]));
    for (const presence of devices.values()) sums[presence] = (sums[presence] ?? 0) + 1;
    STATES.forEach((name, at) => { put(counts[name], count(sums[name])); buttons[at].setAttribute("aria-pressed", String(state === name)); });
    put(shown, `${count(rows.length)} of ${count(all.size)} rows · ${count(devices.size)} devices`);
    grid.show(rows);
  }

  main.className = "fixed";
  fill(main, el("h1", { class: "visually-hidden" }, "Fleet"), el("div", { class: "counts", role: "group", "aria-label": "Devices by presence" }, buttons),
    el("div", { class: "head" }, el("div", { class: "filter" }, box, said), shown), grid.node);
  if (live.filter !== filter) live.open(filter);
  const ages = setInterval(() => grid.draw(), 1000);
  show();
  return {
    title: "Fleet",
    rows: (rows) => { all = rows; show(); },
    close: () => { clearInterval(ages); if (live.filter) live.open(""); },
  };
}
