// Builds elements. Text only ever goes in as text, so what a device calls itself is never markup.

/** Return an element: el("a", {class: "x", href: "#/", on: {click}}, "text", child). */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") {
      for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    } else if (name === "class") node.className = value;
    else if (name === "value") node.value = value;
    else if (/^on/i.test(name)) throw new Error(`${name}: handlers go into 'on'`);
    else if (name === "href" && !/^(#|\/(?!\/))/.test(value)) throw new Error("links stay on this page");
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Write text into a node when it is another. */
export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Replace a node's children. */
export function fill(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
}

/** Do what `fill` does where only figures change: nodes that stay keep focus, selection and scrolling. For nodes without handlers. */
export function renew(node, ...children) {
  const next = document.createElement("div");
  fill(next, ...children);
  alike(node, next);
}

function alike(old, fresh) {
  const wanted = [...fresh.childNodes];
  wanted.forEach((now, at) => {
    const was = old.childNodes[at];
    if (!was) old.append(now);
    else if (was.nodeName !== now.nodeName) was.replaceWith(now);
    else if (was.nodeType === Node.TEXT_NODE) { if (was.data !== now.data) was.data = now.data; } else {
      for (const { name } of [...was.attributes]) if (!now.hasAttribute(name)) was.removeAttribute(name);
      for (const { name, value } of now.attributes) if (name !== "style" && was.getAttribute(name) !== value) was.setAttribute(name, value);
      if (was.style.cssText !== now.style.cssText) was.style.cssText = now.style.cssText; // the attribute is refused by the page's policy
      alike(was, now);
    }
  });
  while (old.childNodes.length > wanted.length) old.lastChild.remove();
}

/** Tell those who cannot see the change. */
export function say(text) {
  put(document.getElementById("say"), text);
}

/** A plain table: columns are [heading, class] and rows are lists of text or nodes. */
export function table(caption, columns, rows, empty = "Nothing yet.") {
  if (!rows.length) return el("p", { class: "empty" }, empty);
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {},
      el("caption", { class: "visually-hidden" }, caption),
      el("thead", {}, el("tr", {}, columns.map(([name, kind]) => el("th", { scope: "col", class: kind }, name)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell, at) => el("td", { class: columns[at][1] }, cell ?? "")))))));
}

/** A choice: options are [value, text]. */
export function select(label, options, chosen, change) {
  const box = el("select", { "aria-label": label, on: { change: () => change(box.value) } },
    options.map(([value, text]) => el("option", { value, selected: value === chosen }, text)));
  return el("label", { class: "choice" }, el("span", {}, label), box);
}
