// Numbers, times, money and names for people, in the same words as the command line.

export const UNKNOWN = "?"; // could not be read: never shown as 0

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

export const number = (value) => (value === null || value === undefined ? UNKNOWN : whole.format(value));

export function usd(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value > 0 && value < 0.0001) return "<$0.0001";
  const digits = value >= 1 || value === 0 ? 2 : 4;
  return `$${value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })}`;
}

/** `45 s`, `12 m`, `3 h 10 m`, `2 d 4 h`. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return UNKNOWN;
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  const m = Math.floor(s / 60);
  if (m < 60) return `${m} m`;
  const h = Math.floor(m / 60);
  if (h < 24) return m % 60 ? `${h} h ${m % 60} m` : `${h} h`;
  return h % 24 ? `${Math.floor(h / 24)} d ${h % 24} h` : `${Math.floor(h / 24)} d`;
}

export const seconds = (iso) => Date.parse(iso) / 1000;

/** How long ago, or in how long, as seen from the report's own time. */
export function ago(iso, asOf) {
  if (!iso) return "never";
  const passed = seconds(asOf) - seconds(iso);
  return passed >= 0 ? `${duration(passed)} ago` : `in ${duration(-passed)}`;
}

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const full = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });
export const hour = (s) => clock.format(new Date(s * 1000));
export const moment = (iso) => full.format(new Date(iso));

/** 1 chunk, 2 chunks. */
export const counted = (value, one, many = `${one}s`) => `${number(value)} ${value === 1 ? one : many}`;

const ODD = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\u{10ff00}-\u{10ffff}]/gu;

/** A name or text whose control characters, direction marks and bytes that are no text can be seen. */
export function plain(text) {
  return String(text).replace(ODD, (char) => {
    const code = char.codePointAt(0);
    if (char === "\n") return "\\n";
    if (char === "\t") return "\\t";
    if (code >= 0x10ff00 || code < 0x100) return `\\x${(code & 0xff).toString(16).padStart(2, "0")}`;
    return `\\u${code.toString(16).padStart(4, "0")}`;
  });
}
