// The one way to the service. Writes carry the session's token against forgery, kept in memory only.
import { clock } from "./format.js";

export class ApiError extends Error {
  constructor(status, body) {
    super(body?.error?.message ?? `the service answered ${status}`);
    this.status = status;
    this.code = body?.error?.code ?? "error";
    this.hints = body?.error?.hints ?? [];
  }
}

export const session = { name: null, role: null, csrf: null };
const RANK = { viewer: 0, operator: 1, admin: 2 };

/** Whether whoever is signed in may do what a role may. */
export const may = (role) => (RANK[session.role] ?? -1) >= RANK[role];

/** Call the API; `background` marks what nobody asked for, which does not keep a session awake. */
export async function call(method, path, body, { background = false, signal } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET" && session.csrf) headers["X-CSRF-Token"] = session.csrf;
  if (background) headers["X-Background"] = "1";
  let answer;
  try {
    answer = await fetch(path, { method, headers, signal, credentials: "same-origin", body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (cause) {
    if (cause.name === "AbortError") throw cause;
    throw new ApiError(0, { error: { code: "unreachable", message: "The service does not answer." } });
  }
  const text = await answer.text();
  let json = null;
  try { json = text ? JSON.parse(text) : null; } catch { /* a proxy's own page */ }
  if (!answer.ok) {
    if (answer.status === 401 && session.name !== null) dispatchEvent(new Event("signedout"));
    throw new ApiError(answer.status, json);
  }
  return json;
}

export const get = (path, options) => call("GET", path, undefined, options);
export const post = (path, body = {}) => call("POST", path, body);

/** Build a query, leaving out what is empty. */
export function query(path, values) {
  const kept = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return kept.length ? `${path}?${new URLSearchParams(kept.map(([name, value]) => [name, String(value)]))}` : path;
}

/** The path of a device in the API. */
export const devicePath = (site, device) => `/api/v1/devices/${encodeURIComponent(site)}/${encodeURIComponent(device)}`;

/** Ask who is signed in; null when nobody is. */
export async function whoami() {
  const answer = await call("GET", "/api/v1/session");
  clock.offset = answer.now_ms - Date.now();
  Object.assign(session, { name: answer.name, role: answer.role, csrf: answer.csrf });
  return answer.name === null ? null : session;
}
