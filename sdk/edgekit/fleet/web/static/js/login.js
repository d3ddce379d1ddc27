// Signing in: a user's name and password, or a token.
import { el, fill } from "./dom.js";
import { call } from "./api.js";

export function login(main, done) {
  const said = el("p", { class: "error", role: "alert" });
  const name = el("input", { name: "name", autocomplete: "username", required: true, autocapitalize: "none", spellcheck: "false" });
  const password = el("input", { name: "password", type: "password", autocomplete: "current-password", required: true });
  const token = el("input", { name: "token", type: "password", autocomplete: "off", required: true });
  const user = el("form", { method: "post" }, el("label", {}, "Name", name), el("label", {}, "Password", password), el("button", { class: "button main" }, "Sign in"));
  const other = el("form", { method: "post" }, el("label", {}, "Token", token), el("button", { class: "button" }, "Sign in with the token"),
    el("p", { class: "soft small" }, "On the service's own machine the file ", el("code", {}, "token"), " in its data folder has one."));
  const send = (form, body) => form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    said.textContent = "";
    try {
      await call("POST", "/api/v1/login", body());
      done();
    } catch (error) {
      said.textContent = error.message;
      password.value = token.value = "";
      button.disabled = false;
    }
  });
  send(user, () => ({ name: name.value, password: password.value }));
  send(other, () => ({ token: token.value }));
  fill(main, el("div", { class: "login card" },
    el("h1", {}, el("img", { src: "/assets/icon.svg", alt: "" }), "EdgeKit fleet"),
    user, el("details", {}, el("summary", {}, "Use a token instead"), other), said));
  name.focus();
}
