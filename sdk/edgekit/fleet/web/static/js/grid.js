// A table of any length: only the rows in sight are in the document, and a row that stays in sight keeps its nodes.
import { el, put } from "./dom.js";

const ROW_PX = 32;
const SPARE = 6;

export class Grid {
  /**
   * @param label what a screen reader calls it
   * @param columns [{name, label, kind, text(row), order(row), ages}] - kind is a class; `ages` greys stale values
   * @param open called with a row
   */
  constructor(label, columns, { key, href, open, stale, sort }) {
    Object.assign(this, { columns, key, href, open, stale, sort });
    this.rows = [];
    this.active = null;
    this.slots = new Map();
    this.waiting = false;
    this.heads = columns.map((column) => this.head(column));
    this.canvas = el("div", { class: "grid-rows", role: "rowgroup" });
    this.node = el("div", { class: "grid", role: "grid", tabindex: "0", "aria-label": label, "aria-colcount": columns.length,
      on: { scroll: () => this.draw(), keydown: (event) => this.keys(event), click: (event) => this.clicked(event) } },
      el("div", { class: "grid-head", role: "rowgroup" }, el("div", { class: "grid-row", role: "row", "aria-rowindex": "1" }, this.heads)),
      this.canvas);
    new ResizeObserver(() => this.draw()).observe(this.node);
    this.mark();
  }

  head(column) {
    return el("div", { role: "columnheader", class: `cell ${column.kind ?? ""}` },
      el("button", { type: "button", title: column.title, on: { click: () => this.order(column.name) } }, column.label));
  }

  /** Sort by a column; the same one again turns round. */
  order(name) {
    this.sort = { name, down: this.sort.name === name ? !this.sort.down : false };
    this.mark();
    this.node.scrollTop = 0;
    this.show(this.rows);
    this.changed?.(this.sort);
  }

  mark() {
    this.columns.forEach((column, at) => this.heads[at].setAttribute("aria-sort",
      column.name !== this.sort.name ? "none" : this.sort.down ? "descending" : "ascending"));
  }

  /** Show these rows: an array that this table may sort. */
  show(rows) {
    const column = this.columns.find((one) => one.name === this.sort.name) ?? this.columns[0];
    const ways = this.sort.down ? -1 : 1;
    const order = column.order;
    rows.sort((a, b) => {
      const left = order(a), right = order(b);
      if (left === right) return a.id < b.id ? -1 : 1;
      if (left === null || left === undefined) return 1; // what nobody measured comes last either way
      if (right === null || right === undefined) return -1;
      return (left < right ? -1 : 1) * ways;
    });
    this.rows = rows;
    this.canvas.style.height = `${rows.length * ROW_PX}px`;
    this.node.setAttribute("aria-rowcount", rows.length + 1);
    this.draw();
  }

  /** Paint with the next frame. */
  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.paint(); });
  }

  paint() {
    const first = Math.max(0, Math.floor(this.node.scrollTop / ROW_PX) - SPARE);
    const last = Math.min(this.rows.length, Math.ceil((this.node.scrollTop + this.node.clientHeight) / ROW_PX) + SPARE);
    const free = [];
    for (const [index, slot] of this.slots) {
      if (index < first || index >= last) { free.push(slot); this.slots.delete(index); }
    }
    for (let index = first; index < last; index++) {
      let slot = this.slots.get(index);
      if (!slot) {
        slot = free.pop() ?? this.slot();
        this.slots.set(index, slot);
        slot.node.style.transform = `translateY(${index * ROW_PX}px)`;
        slot.node.setAttribute("aria-rowindex", index + 2);
        slot.node.classList.toggle("odd", index % 2 === 1);
      }
      this.write(slot, this.rows[index]);
    }
    for (const slot of free) slot.node.remove();
  }

  slot() {
    const cells = this.columns.map((column, at) => {
      const inner = at === 0 ? el("a", { tabindex: "-1" }) : el("span");
      return { cell: el("div", { role: "gridcell", class: `cell ${column.kind ?? ""}` }, inner), inner };
    });
    const node = el("div", { class: "grid-row", role: "row" }, cells.map((one) => one.cell));
    this.canvas.append(node);
    return { node, cells, row: null };
  }

  write(slot, row) {
    const stale = this.stale(row);
    slot.row = row;
    slot.node.id = `row-${row.number}`;
    slot.node.classList.toggle("stale", stale);
    const active = row.id === this.active;
    slot.node.classList.toggle("active", active);
    if (active) { slot.node.setAttribute("aria-selected", "true"); this.node.setAttribute("aria-activedescendant", slot.node.id); }
    else slot.node.removeAttribute("aria-selected");
    this.columns.forEach((column, at) => {
      const { cell, inner } = slot.cells[at];
      if (at === 0) { const to = this.href(row); if (inner.getAttribute("href") !== to) inner.setAttribute("href", to); }
      const text = column.text(row);
      put(inner, text);
      if (column.state) cell.dataset.state = column.state(row);
      const title = column.hint ? column.hint(row) : text;
      if (cell.title !== title) cell.title = title;
    });
  }

  clicked(event) {
    const node = event.target.closest(".grid-rows .grid-row");
    if (!node || event.target.closest("a") || getSelection().toString()) return;
    const slot = [...this.slots.values()].find((one) => one.node === node);
    if (slot) this.open(slot.row);
  }

  keys(event) {
    if (event.target !== this.node || event.ctrlKey || event.metaKey || event.altKey) return;
    const now = this.rows.findIndex((row) => row.id === this.active);
    const page = Math.max(1, Math.floor((this.node.clientHeight - ROW_PX) / ROW_PX) - 1);
    const moves = { ArrowDown: now + 1, ArrowUp: Math.max(0, now - 1), PageDown: now + page, PageUp: Math.max(0, now - page), Home: 0, End: this.rows.length - 1 };
    if (event.key === "Enter" && now >= 0) this.open(this.rows[now]);
    else if (event.key in moves && this.rows.length) this.go(Math.min(moves[event.key], this.rows.length - 1));
    else return;
    event.preventDefault();
  }

  /** Make a row the active one and bring it into sight. */
  go(index) {
    this.active = this.rows[index].id;
    const top = index * ROW_PX, head = ROW_PX;
    if (top < this.node.scrollTop) this.node.scrollTop = top;
    else if (top + ROW_PX > this.node.scrollTop + this.node.clientHeight - head) this.node.scrollTop = top + ROW_PX + head - this.node.clientHeight;
    this.draw();
  }
}
