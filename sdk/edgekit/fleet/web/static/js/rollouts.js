// Rollouts: all of them, and one with its gates as they stand.
import { el, fill, put, renew, table } from "./dom.js";
import { get, may, post } from "./api.js";
import { age, clock, count, digits, moment } from "./format.js";

const REFRESH_MS = 1000;
const TONE = { completed: "good", committed: "good", pass: "good", done: "good", paused: "warn", approval: "warn", "going-back": "warn", late: "warn", away: "warn",
  "rolling-back": "bad", "rolled-back": "bad", stopped: "bad", failed: "bad", rejected: "bad", fail: "bad", "back-failed": "bad", "back-late": "bad" };
const ACTIONS = [["approve", "Approve", ["approval"]], ["pause", "Pause", ["running"]], ["resume", "Resume", ["paused"]], ["abort", "Abort", ["running", "paused", "approval"]], ["rollback", "Roll back", ["running", "paused", "approval", "completed", "stopped"]]];

const tone = (word) => el("span", { class: `verdict ${TONE[word] ?? ""}` }, word);

/** How far it is: done, under way and failed of all. */
function progress(counts) {
  const all = Object.values(counts ?? {}).reduce((sum, many) => sum + many, 0);
  if (!all) return "";
  const bar = el("div", { class: "bar", role: "img", "aria-label": Object.entries(counts).map(([name, many]) => `${name} ${many}`).join(", ") });
  for (const name of ["done", "updating", "failed"]) {
    const part = el("i", { class: name });
    part.style.width = `${100 * (counts[name] ?? 0) / all}%`;
    bar.append(part);
  }
  return bar;
}

export function rolloutsView({ main, parts }) {
  const said = el("p", { class: "error", role: "alert" });
  let ended = false, timer = null;
  const again = (load) => { if (!ended) timer = setTimeout(load, REFRESH_MS); };
  const close = () => { ended = true; clearTimeout(timer); };
  return { title: "Rollouts", close, ...(parts.length ? one(main, parts[0], said, () => ended, again) : all(main, said, () => ended, again)) };
}

function all(main, said, ended, again) {
  const list = el("section", { class: "card" });
  fill(main, el("div", { class: "head" }, el("h1", {}, "Rollouts"), el("span", { class: "soft" }, "started with ", el("code", {}, "edgekit fleet rollout create"))), said, list);
  async function load() {
    try {
      const { rollouts } = await get("/api/v1/rollouts", { background: true });
      if (ended()) return;
      put(said, "");
      renew(list, table("Rollouts", [["Rollout", ""], ["Model", ""], ["State", ""], ["Progress", ""], ["Devices", "num"], ["Started", ""], ["By", ""]], rollouts.map((row) => [
        el("a", { href: `#/rollouts/${encodeURIComponent(row.id)}` }, row.id), `${row.model} ${row.version}`, tone(row.state), progress(row.counts),
        count((row.stages ?? []).reduce((sum, one) => sum + one.devices, 0)), `${age(clock.now() - row.created_ms)} ago`, row.created_by,
      ]), "No model was rolled out yet."));
    } catch (error) {
      if (!ended()) { if (error.status === 404) renew(list, el("p", { class: "empty" }, "No model was rolled out yet.")); else put(said, error.message); }
    }
    again(load);
  }
  load();
  return {};
}

function one(main, id, said, ended, again) {
  const head = el("div", { class: "head" });
  const facts = el("dl", { class: "facts" });
  const parts = ["Gates", "Stages", "Devices", "What happened"].map((name) => { const body = el("div", { class: name.toLowerCase() }); return [body, el("section", { class: "card" }, el("h2", {}, name), body)]; });
  const [[gates], [stages], [devices], [happened]] = parts;
  const buttons = ACTIONS.map(([name, text]) => el("button", { class: name === "abort" || name === "rollback" ? "button risky" : "button", type: "button", hidden: true, on: { click: () => act(name, text) } }, text));
  const title = el("h1", {}, id), state = el("span"), bar = el("div");
  fill(head, title, state, bar, el("div", { class: "end" }, buttons, el("a", { href: "#/rollouts" }, "all rollouts")));
  fill(main, head, said, facts, parts.map(([, card]) => card));

  async function act(name, text) {
    if ((name === "abort" || name === "rollback") && !confirm(`${text} rollout ${id}?`)) return;
    try { draw(await post(`/api/v1/rollouts/${encodeURIComponent(id)}/${name}`)); } catch (error) { put(said, error.message); }
  }

  function draw(now) {
    put(title, `${now.model} ${now.version}`);
    renew(state, tone(now.state), now.reason ? el("span", { class: "soft" }, ` ${now.reason}`) : null);
    renew(bar, progress(now.counts));
    ACTIONS.forEach(([, , when], at) => { buttons[at].hidden = !may("operator") || !when.includes(now.state); });
    const rows = [["Rollout", now.id], ["Devices", now.filter || "all"], ["Started", moment(now.created_ms)], ["By", now.created_by], ["Ended", now.ended_ms ? moment(now.ended_ms) : null], ...Object.entries(now.counts ?? {}).map(([name, many]) => [name, count(many)])];
    renew(facts, rows.filter(([, value]) => value).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
    if (now.gates) renew(gates, table("Gates", [["Gate", ""], ["Verdict", ""], ["Now", "num"], ["Limit", "num"], ["Samples", "num"], ["Why", "wrap"]], now.gates.map((gate) => [gate.name, tone(gate.verdict), figure(gate, gate.value), figure(gate, gate.limit), gate.samples ? count(gate.samples) : "", gate.text]), "No gate was measured yet."));
    renew(stages, table("Stages", [["Stage", ""], ["State", ""], ["Devices", "num"], ["Done", "num"], ["Failed", "num"], ["Waiting", "num"]], (now.stages ?? []).map((row) => [row.name, tone(row.state), count(row.devices), count(row.done), count(row.failed), count(row.pending)])));
    if (now.devices) renew(devices, table("Devices", [["Device", ""], ["Site", ""], ["Stage", ""], ["Phase", ""], ["Reason", "wrap"]], now.devices.slice(0, 200).map((row) => [el("a", { href: `#/device/${encodeURIComponent(row.site)}/${encodeURIComponent(row.device)}` }, row.device), row.site, now.stages?.[row.stage]?.name ?? row.stage, tone(row.phase), row.reason])));
    if (now.events) renew(happened, table("What happened", [["Time", ""], ["What", ""], ["", "wrap"], ["By", ""]], now.events.map((row) => [moment(row.at_ms), row.what, row.text, row.by])));
  }

  async function load() {
    try {
      const now = await get(`/api/v1/rollouts/${encodeURIComponent(id)}`, { background: true });
      if (ended()) return;
      put(said, "");
      draw(now);
    } catch (error) {
      if (!ended()) put(said, error.message);
    }
    again(load);
  }
  load();
  return {};
}

const SHARES = new Set(["jobs", "presence", "errors"]);

/** A gate's value or limit in what it is measured in. */
function figure(gate, value) {
  if (typeof value !== "number") return "";
  if (SHARES.has(gate.name)) return `${digits(100 * value)} %`;
  if (/-p[0-9]+$/.test(gate.name)) return `${value < 0 ? "−" : "+"}${digits(Math.abs(100 * value))} %`;
  return gate.name === "crashes" ? `${digits(value)} /h` : digits(value);
}
