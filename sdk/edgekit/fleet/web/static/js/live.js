// The live stream: the service sends what changed, twice a second at most; this keeps the rows it is about.
import { clock } from "./format.js";
import { query } from "./api.js";

export class Live {
  /** Handlers: rows(map), events(list), rollouts(), state(word), refused(error). */
  constructor(handlers) {
    this.handlers = handlers;
    this.rows = new Map();
    this.number = 0;
    this.source = null;
    this.filter = "";
    this.heard = 0;
    setInterval(() => this.check(), 2000);
  }

  /** Listen, to what a filter lets through. */
  open(filter = "") {
    this.close();
    this.filter = filter;
    this.source = new EventSource(query("/api/v1/live", { filter }));
    this.source.addEventListener("hello", (event) => this.hello(JSON.parse(event.data)));
    this.source.addEventListener("rows", (event) => this.take(JSON.parse(event.data)));
    this.source.addEventListener("events", (event) => this.handlers.events(JSON.parse(event.data).events));
    this.source.addEventListener("changed", (event) => this.handlers.changed(JSON.parse(event.data)));
    this.source.addEventListener("beat", (event) => this.beat(JSON.parse(event.data)));
    this.source.addEventListener("bye", () => { this.close(); dispatchEvent(new Event("signedout")); });
    this.source.onerror = () => {
      this.handlers.state("lost");
      if (this.source?.readyState === EventSource.CLOSED) setTimeout(() => { if (this.source?.readyState === EventSource.CLOSED) this.handlers.closed(); }, 2000);
    };
  }

  close() {
    this.source?.close();
    this.source = null;
  }

  hello(said) {
    this.columns = said.columns;
    if (said.fresh) this.rows.clear();
    this.beat(said);
  }

  beat(said) {
    clock.offset = said.now_ms - Date.now();
    this.heard = Date.now();
    this.handlers.state("live");
  }

  take(said) {
    for (const id of said.gone) this.rows.delete(id);
    for (const values of said.rows) {
      const id = values[0];
      let row = this.rows.get(id);
      if (!row) { row = { id, number: this.number++ }; this.rows.set(id, row); }
      for (let at = 1; at < this.columns.length; at++) row[this.columns[at]] = values[at];
    }
    this.beat(said);
    this.handlers.rows(this.rows, said);
  }

  check() {
    if (this.source && this.heard && Date.now() - this.heard > 15000) this.handlers.state("silent");
  }
}
