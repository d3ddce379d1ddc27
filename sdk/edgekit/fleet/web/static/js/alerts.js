// Alerts that are firing, worst first.
import { el, fill, table } from "./dom.js";
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
      if (error.status !== 404) { fill(list, el("p", { class: "error" }, error.message)); return; }
    }
    if (ended) return;
    fill(list, table("Alerts", [["Since", ""], ["Rule", ""], ["Where", "wrap"], ["State", ""], ["Severity", ""], ["Now", "num"], ["Worst", "num"], ["", ""]], alerts.map((one) => [
      age(clock.now() - one.since_ms), one.rule, one.group, el("span", { class: `verdict ${one.phase === "firing" ? "bad" : "warn"}` }, one.phase), one.severity, digits(one.value), digits(one.worst),
      one.silenced ? "silenced" : one.acked_ms ? "seen to" : "",
    ]), "Nothing is wrong."));
  };
  load();
  const timer = setInterval(load, 5000);
  return { title: "Alerts", close: () => { ended = true; clearInterval(timer); }, changed: load };
}
