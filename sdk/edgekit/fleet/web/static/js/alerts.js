// Alerts that are firing, worst first.
import { el, fill, renew, table } from "./dom.js";
import { get } from "./api.js";
import { age, clock, digits } from "./format.js";

export function alertsView({ main }) {
  const list = el("section", { class: "card" });
  fill(main, el("div", { class: "head" }, el("h1", {}, "Alerts")), list);
  let ended = false;
  const load = async () => {
    let alerts = [];
    try { alerts = (await get("/api/v1/alerts", { background: true })).alerts; } catch (error) {
      // a service without the alert engine has no such path: nothing can be firing
      if (error.status !== 404) { renew(list, el("p", { class: "error" }, error.message)); return; }
    }
    if (ended) return;
    renew(list, table("Alerts", [["State", ""], ["Rule", ""], ["Of", "wrap"], ["When", ""], ["Now", "num"], ["Worst", "num"], ["Severity", ""], ["Since", "num"], ["", ""]], alerts.map((one) => [
      el("span", { class: `verdict ${one.phase === "firing" ? "bad" : "warn"}` }, one.phase), one.rule, one.group, one.when, `${digits(one.value)} ${one.unit}`, `${digits(one.worst)} ${one.unit}`, one.severity, age(clock.now() - one.since_ms),
      one.silenced ? "silenced" : one.acked_ms ? "seen to" : "",
    ]), "Nothing is wrong."));
  };
  load();
  const timer = setInterval(load, 5000);
  return { title: "Alerts", close: () => { ended = true; clearInterval(timer); }, changed: load };
}
