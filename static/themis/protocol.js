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

/** @type {Check} */
const isText = (value) => typeof value === "string";
/** @type {Check} */
const isFlag = (value) => typeof value === "boolean";
/** @type {Check} */
const isCount = (value) => Number.isSafeInteger(value) && Number(value) >= 0;
/** @type {Check} */
const isId = (value) => typeof value === "string" && /^\d{1,19}$/.test(value);
/** @type {Check} */
const isTime = (value) => typeof value === "string" && !Number.isNaN(Date.parse(value));
/** @type {Check} */
const isTimeOrNull = (value) => value === null || isTime(value);
/** @type {Check} */
const isRecord = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
/** @type {(isValid: Check) => Check} */
const listOf = (isValid) => (value) => Array.isArray(value) && value.every(isValid);

/** @param {any} value @param {Shape} shape */
function fits(value, shape) {
  return isRecord(value) && Object.entries(shape).every(([name, isValid]) => isValid(value[name]));
}

const ITEM = {
  id: isId,
  title: isText,
  message: isText,
  level: isText,
  url: isText,
  open_url: isText,
  source: isRecord,
  created_at: isTime,
  read_at: isTimeOrNull,
  expires_at: isTimeOrNull,
  created_revision: isCount,
  revision: isCount,
};

/** @param {unknown} value @returns {value is Item} */
export function isItem(value) {
  return fits(value, ITEM);
}

const BEAT = { epoch: isText, revision: isCount };

/** @type {Shape} */
const STATE = {
  ...BEAT,
  v: (value) => value === VERSION,
  epoch: (value) => isText(value) && value !== "",
  unread: isCount,
  items: listOf(isItem),
  now: isTime,
  poll_interval: (value) => typeof value === "number" && value >= 0,
  desktop: isFlag,
};

/** @type {Map<unknown, Shape>} */
const FRAMES = new Map([
  ["snapshot", STATE],
  ["changes", { ...STATE, since: isCount, removed: listOf(isId) }],
  ["ping", BEAT],
  ["pong", BEAT],
  ["restart", { retry_ms: isCount }],
  ["error", { detail: isText }],
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
