// Starts the page: who is signed in, the bar, and which view the address names.
import { el, fill, put, say } from "./dom.js";
import { call, session, whoami } from "./api.js";
import { Live } from "./live.js";
import { login } from "./login.js";
import { fleetView } from "./fleet.js";
import { deviceView } from "./device.js";
import { modelsView } from "./models.js";
import { rolloutsView } from "./rollouts.js";
import { eventsView } from "./events.js";
import { alertsView } from "./alerts.js";

const VIEWS = [
  ["fleet", "Fleet", fleetView],
  ["models", "Models", modelsView],
  ["rollouts", "Rollouts", rolloutsView],
  ["events", "Events", eventsView],
  ["alerts", "Alerts", alertsView],
  ["device", null, deviceView],
];
const WORDS = { live: "live", lost: "reconnecting", silent: "no answer", closed: "not connected" };

const bar = document.getElementById("bar");
const main = document.getElementById("main");
const pulse = el("span", { class: "pulse", "data-state": "closed" }, "connecting");
let view = null;

const live = new Live({
  rows: (rows, said) => view?.rows?.(rows, said),
  events: (events) => view?.events?.(events),
  changed: (what) => view?.changed?.(what),
  state: (word) => { if (pulse.dataset.state !== word) { pulse.dataset.state = word; put(pulse, WORDS[word]); if (word !== "live") say(WORDS[word]); } },
  closed: () => start(),
});

function drawBar() {
  const links = VIEWS.filter(([, title]) => title).map(([name, title]) => el("a", { href: `#/${name}` }, title));
  const theme = el("button", { class: "quiet", type: "button", "aria-label": "Dark or light", title: "Dark or light", on: { click: () => say(`${nextTheme()} theme`) } }, "◐");
  fill(bar,
    el("a", { class: "brand", href: "#/fleet" }, el("img", { src: "/assets/icon.svg", alt: "" }), "EdgeKit"),
    el("nav", { "aria-label": "Views" }, links),
    el("div", { class: "right" }, pulse, el("span", { class: "who" }, `${session.name} · ${session.role}`), theme,
      el("button", { class: "quiet", type: "button", on: { click: leave } }, "Sign out")));
  bar.hidden = false;
}

async function leave() {
  try { await call("POST", "/api/v1/logout"); } catch { /* gone either way */ }
  session.name = null;
  start();
}

function route() {
  if (session.name === null) return;
  const [path, text] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean).map(decode);
  const [name, title, make] = VIEWS.find(([one]) => one === parts[0]) ?? VIEWS[0];
  view?.close?.();
  main.className = "";
  main.scrollTop = 0;
  for (const link of bar.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#/${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  view = make({ main, live, parts: parts.slice(1), options: new URLSearchParams(text ?? "") });
  document.title = `${view.title ?? title} – EdgeKit`;
  // The first row of figures is there at once when the stream has brought it before.
  if (live.rows.size) view.rows?.(live.rows, null);
}

function decode(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

async function start() {
  view?.close?.();
  view = null;
  live.close();
  live.rows.clear();
  let known = null;
  try { known = await whoami(); } catch (error) {
    fill(main, el("div", { class: "notice bad", role: "alert" }, error.message, " ", el("button", { class: "button", type: "button", on: { click: start } }, "Try again")));
    return;
  }
  if (!known) {
    bar.hidden = true;
    main.className = "";
    document.title = "Sign in – EdgeKit";
    login(main, start);
    return;
  }
  drawBar();
  live.open();
  route();
}

addEventListener("hashchange", () => { route(); main.focus({ preventScroll: true }); });
addEventListener("signedout", () => { if (session.name !== null) { session.name = null; start(); } });
start();
