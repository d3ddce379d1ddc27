// What happened in the fleet, newest first; new ones come with the live stream.
import { el, fill, select } from "./dom.js";
import { get, query } from "./api.js";
import { moment } from "./format.js";

const KEPT = 500;
const LEVELS = ["", "debug", "info", "warning", "error"];

/** The columns of events; `withDevice` where they are of several devices. */
function row(event, withDevice) {
  const place = `#/device/${encodeURIComponent(event.site)}/${encodeURIComponent(event.device)}`;
  return el("tr", {},
    el("td", {}, moment(event.ts_ms)),
    withDevice ? el("td", {}, el("a", { href: place }, event.device), el("span", { class: "soft" }, ` ${event.site}`)) : null,
    el("td", {}, el("span", { class: "level", "data-level": event.level }, event.level)),
    el("td", {}, el("code", {}, event.code)),
    el("td", { class: "wrap" }, event.text, event.model ? el("span", { class: "soft" }, ` ${event.model}`) : null));
}

/** A table that takes events, newest first. */
export function eventTable(withDevice) {
  const body = el("tbody");
  const empty = el("p", { class: "empty" }, "Nothing has happened.");
  const known = new Set();
  const node = el("div", {}, empty, el("div", { class: "scroll", role: "region", "aria-label": "Events", tabindex: "0" }, el("table", {},
    el("thead", {}, el("tr", {}, ["Time", withDevice ? "Device" : null, "Level", "Code", "What"].filter(Boolean).map((text) => el("th", { scope: "col" }, text)))), body)));
  const add = (events, top) => {
    for (const event of top ? [...events].reverse() : events) {
      if (known.has(event.id)) continue;
      known.add(event.id);
      if (top) body.prepend(row(event, withDevice)); else body.append(row(event, withDevice));
    }
    while (body.rows.length > KEPT) body.rows[body.rows.length - 1].remove();
    empty.hidden = body.rows.length > 0;
    node.lastChild.hidden = !empty.hidden;
  };
  add([], false);
  return { node, add };
}

export function eventsView({ main, options }) {
  const list = eventTable(true);
  const said = el("p", { class: "error", role: "alert" });
  let level = options.get("level") ?? "";
  let filter = options.get("filter") ?? "";
  const goto = () => { location.hash = query("#/events", { level, filter }); };
  const box = el("input", { type: "search", placeholder: "filter, as in the fleet's table", "aria-label": "Filter", value: filter, on: { change: () => { filter = box.value.trim(); goto(); } } });
  fill(main, el("div", { class: "head" }, el("h1", {}, "Events"), el("div", { class: "filter" }, box),
    select("Level", [["", "all"], ["warning", "warning and error"], ["error", "error"]], level, (value) => { level = value; goto(); })),
  said, el("section", { class: "card" }, list.node));
  const load = () => get(query("/api/v1/events", { filter, level, limit: 200 })).then((answer) => list.add(answer.events, false), (error) => { said.textContent = error.message; });
  load();
  const shown = (event) => LEVELS.indexOf(event.level) >= LEVELS.indexOf(level); // the least, as in the API
  return { title: "Events", events: (events) => { if (!filter) list.add(events.filter(shown), true); else get(query("/api/v1/events", { filter, level, limit: 50 }), { background: true }).then((answer) => list.add(answer.events, true), () => {}); } };
}
