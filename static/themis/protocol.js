export const VERSION = 1;

export const CLOSE = Object.freeze({
  MALFORMED: 4400,
  SIGNED_OUT: 4401,
  WRONG_ORIGIN: 4403,
  TOO_SLOW: 4408,
  RESTART: 4012,
  TOO_MANY: 4429,
  UNAVAILABLE: 4503,
});

/** @param {number} code */
export function closeMeaning(code) {
  switch (code) {
    case CLOSE.SIGNED_OUT:
      return "stop";
    case CLOSE.WRONG_ORIGIN:
    case CLOSE.TOO_MANY:
    case CLOSE.MALFORMED:
      return "poll";
    case CLOSE.RESTART:
      return "restart";
    default:
      return "backoff";
  }
}

/** @satisfies {Shape} */
const is = {
  text: (value) => typeof value === "string",
  flag: (value) => typeof value === "boolean",
  count: (value) => Number.isSafeInteger(value) && value >= 0,
  id: (value) => typeof value === "string" && /^\d{1,19}$/.test(value),
  time: (value) => typeof value === "string" && !Number.isNaN(Date.parse(value)),
  record: (value) => typeof value === "object" && value !== null && !Array.isArray(value),
};

/** @param {Check} isValid @returns {Check} */
const orNull = (isValid) => (value) => value === null || isValid(value);

/** @param {Check} isValid @returns {Check} */
const listOf = (isValid) => (value) => Array.isArray(value) && value.every(isValid);

/** @param {any} value @param {Shape} shape */
function fits(value, shape) {
  return is.record(value) && Object.entries(shape).every(([name, isValid]) => isValid(value[name]));
}

const ITEM = {
  id: is.id,
  title: is.text,
  message: is.text,
  level: is.text,
  url: is.text,
  open_url: is.text,
  source: is.record,
  created_at: is.time,
  read_at: orNull(is.time),
  expires_at: orNull(is.time),
  created_revision: is.count,
  revision: is.count,
};

/** @param {unknown} value @returns {value is Item} */
export function isItem(value) {
  return fits(value, ITEM);
}

const BEAT = { epoch: is.text, revision: is.count };

/** @type {Shape} */
const STATE = {
  ...BEAT,
  v: (value) => value === VERSION,
  epoch: (value) => is.text(value) && value !== "",
  unread: is.count,
  items: listOf(isItem),
  now: is.time,
  poll_interval: (value) => typeof value === "number" && value >= 0,
  desktop: is.flag,
};

/** @type {Map<unknown, Shape>} */
const FRAMES = new Map([
  ["snapshot", STATE],
  ["changes", { ...STATE, since: is.count, removed: listOf(is.id) }],
  ["ping", BEAT],
  ["pong", BEAT],
  ["restart", { retry_ms: is.count }],
  ["error", { detail: is.text }],
]);

/** @param {any} text @returns {Frame | null} */
export function decode(text) {
  try {
    const frame = JSON.parse(text);
    const shape = FRAMES.get(frame?.type);
    return shape !== undefined && fits(frame, shape) ? frame : null;
  } catch {
    return null;
  }
}

/** @param {Frame | null} frame @returns {frame is StateFrame} */
export function isStateFrame(frame) {
  return frame?.type === "snapshot" || frame?.type === "changes";
}

/** @param {string} url @param {Position} position */
export function withPosition(url, { epoch, revision }) {
  if (epoch === null) return url;
  return `${url}${url.includes("?") ? "&" : "?"}${new URLSearchParams({ since: String(revision), epoch })}`;
}

/** Numbers that may exceed what a double holds. @param {string} a @param {string} b */
export function compareIds(a, b) {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

/** @param {Item} a @param {Item} b */
export function newestFirst(a, b) {
  return b.created_revision - a.created_revision || compareIds(b.id, a.id);
}

/** @param {number} count @param {string} [language] */
export function countLabel(count, language) {
  return count > 0 ? capped(count, 99, language) : "";
}

/** @param {number} count @param {string} [language] */
export function countText(count, language) {
  return capped(count, 9999, language);
}

/** @param {number} count @param {number} cap @param {string} [language] */
function capped(count, cap, language) {
  return new Intl.NumberFormat(language).format(Math.min(count, cap)) + (count > cap ? "+" : "");
}
