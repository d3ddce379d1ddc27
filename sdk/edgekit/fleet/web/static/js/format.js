// Figures as people read them: three digits that mean something, units beside them, and "-" for what nobody measured.

export const NONE = "–";

const known = (value) => typeof value === "number" && Number.isFinite(value);

/** Three significant digits, never in exponents. */
export function digits(value) {
  if (!known(value)) return NONE;
  // rounded first: 9.998 and 10.002 are both 10.0
  const three = Number(value.toPrecision(3)), size = Math.abs(three);
  if (size >= 100 || size === 0) return Math.round(value).toLocaleString("en");
  return three.toFixed(Math.min(4, 2 - Math.floor(Math.log10(size))));
}

export const count = (value) => known(value) ? Math.round(value).toLocaleString("en") : NONE;
export const percent = (value) => known(value) ? `${Math.round(value)}` : NONE;
export const celsius = (value) => known(value) ? value.toFixed(1) : NONE;
export const mebibytes = (value) => known(value) ? digits(value / 1048576) : NONE;

/** A length of time in its largest unit. */
export function age(ms) {
  if (!known(ms)) return "never";
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} d`;
}

const two = (value) => String(value).padStart(2, "0");

/** A moment on this computer's clock: 2026-11-22 05:57:28. */
export function moment(ms) {
  if (!known(ms)) return NONE;
  const at = new Date(ms);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** The time the service has: its clock, not this computer's. */
export const clock = { offset: 0, now: () => Date.now() + clock.offset };
