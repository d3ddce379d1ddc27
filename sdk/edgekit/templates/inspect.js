"use strict";
(() => { // its own scope: the page's has names such as `top`
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const svg = document.getElementById("graph"), map = document.getElementById("map"), panel = document.getElementById("details");
  const boxes = [...svg.querySelectorAll(".box")];
  const [fullWidth, fullHeight, boxWidth, boxHeight] = ["width", "height", "boxWidth", "boxHeight"].map(key => Number(svg.dataset[key]));
  const margin = 20, readable = 0.6; // pixels on the screen a pixel of the drawing must have for its text
  let seen = { x: 0, y: 0, width: 1, height: 1 };
  const frame = made("rect", { class: "frame" });

  function made(tag, attributes) {
    const element = document.createElementNS(svg.namespaceURI, tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  }

  function spotOf(box) {
    const matrix = box.transform.baseVal[0].matrix;
    return [matrix.e, matrix.f];
  }

  function show(x, y, width) {
    const height = width * svg.clientHeight / svg.clientWidth;
    seen = { x, y, width, height };
    svg.setAttribute("viewBox", `${x} ${y} ${width} ${height}`);
    svg.classList.toggle("far", svg.clientWidth / width < readable / 1.8);
    for (const [key, value] of Object.entries(seen)) frame.setAttribute(key, value);
  }

  function wholeWidth() {
    return Math.max(fullWidth + 2 * margin, (fullHeight + 2 * margin) * svg.clientWidth / svg.clientHeight);
  }

  function whole() {
    const width = wholeWidth();
    show((fullWidth - width) / 2, fullHeight / 2 - width * svg.clientHeight / svg.clientWidth / 2, width);
  }

  function centre(box, width) {
    const [x, y] = spotOf(box);
    show(x + boxWidth / 2 - width / 2, y + boxHeight / 2 - width * svg.clientHeight / svg.clientWidth / 2, width);
  }

  function begin() {
    const fits = svg.clientWidth / wholeWidth() >= readable;
    map.style.display = fits ? "none" : "";
    if (fits || !boxes.length) return whole();
    const [x] = spotOf(boxes[0]);
    show(x + boxWidth / 2 - svg.clientWidth / 2, -margin, svg.clientWidth);
  }

  function zoom(by, x = seen.x + seen.width / 2, y = seen.y + seen.height / 2) {
    const width = Math.min(Math.max(seen.width * by, 200), 4 * wholeWidth()), real = width / seen.width;
    show(x - (x - seen.x) * real, y - (y - seen.y) * real, width);
  }

  function place(event, on) {
    return new DOMPoint(event.clientX, event.clientY).matrixTransform(on.getScreenCTM().inverse());
  }

  function words(tag, text, kind = "") {
    const element = document.createElement(tag);
    element.textContent = text;
    element.className = kind;
    return element;
  }

  function tensor(one) {
    const item = words("li", one.what);
    item.append(document.createElement("br"), words("code", one.name), words("span", one.kind === "constant" ? " constant" : "", "soft"));
    if (one.grid) item.append(document.createElement("br"), words("span", one.grid, "soft"));
    return item;
  }

  function explain(fact) {
    panel.replaceChildren(words("h3", fact.name), words("p", fact.op));
    for (const [key, unit] of [["parameters", "parameters"], ["macs", "MACs"], ["alive", "bytes alive"]])
      if (fact[key]) panel.append(words("p", `${fact[key].toLocaleString("en")} ${unit}`, "soft"));
    for (const side of ["inputs", "outputs"]) {
      if (!fact[side].length) continue;
      const list = document.createElement("ul");
      list.append(...fact[side].map(tensor));
      panel.append(words("p", side), list);
    }
  }

  function choose(id, move) {
    document.querySelectorAll(".chosen, .near").forEach(one => one.classList.remove("chosen", "near"));
    document.querySelectorAll(`[data-id="${id}"]`).forEach(one => one.classList.add("chosen"));
    svg.querySelectorAll(`[data-from="${id}"], [data-to="${id}"]`).forEach(one => one.classList.add("near"));
    explain(facts[id]);
    const box = document.getElementById(id);
    if (!box) return; // what is computed from constants only is not drawn
    box.classList.add("chosen");
    if (move) centre(box, Math.min(seen.width, svg.clientWidth / readable));
  }

  let held = null;
  svg.addEventListener("pointerdown", event => { held = { x: event.clientX, y: event.clientY, seen }; });
  addEventListener("pointermove", event => {
    if (!held) return;
    const scale = seen.width / svg.clientWidth;
    svg.classList.add("held");
    show(held.seen.x - (event.clientX - held.x) * scale, held.seen.y - (event.clientY - held.y) * scale, seen.width);
  });
  addEventListener("pointerup", event => {
    const still = held && Math.hypot(event.clientX - held.x, event.clientY - held.y) < 4;
    held = null;
    svg.classList.remove("held");
    const box = event.target instanceof Element && event.target.closest(".box");
    if (box && still) choose(box.id, false);
  });
  svg.addEventListener("wheel", event => {
    event.preventDefault();
    const spot = place(event, svg);
    zoom(event.deltaY > 0 ? 1.18 : 1 / 1.18, spot.x, spot.y);
  }, { passive: false });
  map.addEventListener("click", event => {
    const spot = place(event, map);
    show(spot.x - seen.width / 2, spot.y - seen.height / 2, seen.width);
  });
  document.querySelectorAll("[data-id]").forEach(one => one.addEventListener("click", () => choose(one.dataset.id, true)));
  document.getElementById("whole").addEventListener("click", whole);
  document.getElementById("in").addEventListener("click", () => zoom(1 / 1.4));
  document.getElementById("out").addEventListener("click", () => zoom(1.4));

  const search = document.getElementById("search"), told = document.getElementById("told");
  let next = 0;
  search.addEventListener("input", () => { next = 0; told.textContent = ""; });
  search.addEventListener("keydown", event => {
    const wanted = search.value.trim().toLowerCase();
    if (event.key !== "Enter" || !wanted) return;
    const hits = boxes.filter(one => one.dataset.find.includes(wanted));
    told.textContent = hits.length ? `${next % hits.length + 1} of ${hits.length}` : "none";
    if (hits.length) choose(hits[next++ % hits.length].id, true);
  });

  for (const box of boxes) {
    const [x, y] = spotOf(box), kind = box.getAttribute("class").replace("box ", "");
    map.append(made("rect", { class: kind, x, y, width: boxWidth, height: boxHeight }));
  }
  map.append(frame);
  map.setAttribute("viewBox", `${-margin} ${-margin} ${fullWidth + 2 * margin} ${fullHeight + 2 * margin}`);
  begin();
})();
