/**
 * The wire format, version 1: what frames look like, what close codes mean, and
 * the small rules about ids, counts and links that every page must share.
 * Nothing here touches the DOM, a socket or a clock.
 */

/** The version this page speaks; frames of another one are not understood. */
export const VERSION = 1;

/** Close codes the server sends; daphne cannot send 1012 or a reason. */
export const CLOSE = Object.freeze({
  MALFORMED: 4400,
  SIGNED_OUT: 4401,
  WRONG_ORIGIN: 4403,
  TOO_SLOW: 4408,
  RESTART: 4012,
  TOO_MANY: 4429,
  UNAVAILABLE: 4503,
});

/**
 * What a page does after a close: "stop" for good, "poll" instead of a socket,
 * come back after a "restart", or come back with "backoff".
 *
 * @param {number} code
 * @returns {"stop" | "poll" | "restart" | "backoff"}
 */
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

/** @param {unknown} value @returns {value is Record<string, unknown>} */
function isRecord(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @param {unknown} value @returns {value is number} */
function isCount(value) {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

/** @param {unknown} value @returns {value is string} */
function isId(value) {
  return typeof value === "string" && /^\d{1,19}$/.test(value);
}

/** @param {unknown} value @returns {value is string} */
function isTime(value) {
  return typeof value === "string" && !Number.isNaN(Date.parse(value));
}

/** @param {unknown} value @returns {value is Item} */
export function isItem(value) {
  return (
    isRecord(value) &&
    isId(value.id) &&
    typeof value.title === "string" &&
    typeof value.message === "string" &&
    typeof value.level === "string" &&
    typeof value.url === "string" &&
    typeof value.open_url === "string" &&
    isRecord(value.source) &&
    isTime(value.created_at) &&
    (value.read_at === null || isTime(value.read_at)) &&
    (value.expires_at === null || isTime(value.expires_at)) &&
    isCount(value.created_revision) &&
    isCount(value.revision)
  );
}

/** @param {Record<string, unknown>} frame */
function isState(frame) {
  return (
    frame.v === VERSION &&
    typeof frame.epoch === "string" &&
    frame.epoch !== "" &&
    isCount(frame.revision) &&
    isCount(frame.unread) &&
    Array.isArray(frame.items) &&
    frame.items.every(isItem) &&
    isTime(frame.now) &&
    typeof frame.poll_interval === "number" &&
    frame.poll_interval >= 0 &&
    typeof frame.desktop === "boolean"
  );
}

/** @type {Record<string, (frame: Record<string, unknown>) => boolean>} */
const VALID = {
  snapshot: isState,
  changes: (frame) =>
    isState(frame) &&
    isCount(frame.since) &&
    Array.isArray(frame.removed) &&
    frame.removed.every(isId),
  ping: (frame) => typeof frame.epoch === "string" && isCount(frame.revision),
  pong: (frame) => typeof frame.epoch === "string" && isCount(frame.revision),
  restart: (frame) => isCount(frame.retry_ms),
  error: (frame) => typeof frame.detail === "string",
};

/**
 * Read one frame. Answers null for whatever this page does not understand:
 * broken JSON, an unknown type, another version, a missing or mistyped field.
 * Unknown extra fields are allowed.
 *
 * @param {unknown} text
 * @returns {Frame | null}
 */
export function decode(text) {
  if (typeof text !== "string") return null;
  /** @type {unknown} */
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isRecord(value) || typeof value.type !== "string") return null;
  if (!Object.hasOwn(VALID, value.type)) return null;
  return VALID[value.type]?.(value) ? /** @type {Frame} */ (/** @type {unknown} */ (value)) : null;
}

/**
 * @param {Frame | null} frame
 * @returns {frame is StateFrame}
 */
export function isStateFrame(frame) {
  return frame !== null && (frame.type === "snapshot" || frame.type === "changes");
}

/**
 * The query that says what a page holds: both `since` and `epoch`, or neither.
 *
 * @param {string} url
 * @param {Position} position
 */
export function withPosition(url, position) {
  if (position.epoch === null) return url;
  const query = new URLSearchParams({ since: String(position.revision), epoch: position.epoch });
  return `${url}${url.includes("?") ? "&" : "?"}${query}`;
}

/**
 * Compare two ids as the numbers they are; they may exceed what a double holds.
 *
 * @param {string} a
 * @param {string} b
 */
export function compareIds(a, b) {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

/**
 * Newest first, as snapshots, pages and panel all have it.
 *
 * @param {Item} a
 * @param {Item} b
 */
export function newestFirst(a, b) {
  return b.created_revision - a.created_revision || compareIds(b.id, a.id);
}

/**
 * What the badge shows: nothing for zero, "99+" above 99.
 *
 * @param {number} count
 * @param {string} [language]
 */
export function countLabel(count, language) {
  return count > 0 ? capped(count, 99, language) : "";
}

/**
 * What a screen reader hears: exact to 9,999, as far as the wire is.
 *
 * @param {number} count
 * @param {string} [language]
 */
export function countText(count, language) {
  return capped(count, 9999, language);
}

/**
 * @param {number} count
 * @param {number} cap
 * @param {string} [language]
 */
function capped(count, cap, language) {
  const number = new Intl.NumberFormat(language);
  return count > cap ? `${number.format(cap)}+` : number.format(count);
}

const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

/**
 * Whether a notification's `url` may be treated as a link: a path of this site, or
 * http(s) without credentials. The server refuses the rest when it is written;
 * this is for what is found in the table anyway.
 *
 * @param {unknown} url
 */
export function isLink(url) {
  if (typeof url !== "string" || url === "" || url.length > 2000 || CONTROL.test(url)) return false;
  if (!/^\/(?![/\\])|^https?:\/\/[^/\\]/i.test(url)) return false;
  try {
    const { protocol, username, password } = new URL(url, "https://themis.invalid/");
    return /^https?:$/.test(protocol) && username === "" && password === "";
  } catch {
    return false;
  }
}

/**
 * The host a notification leads away to; empty for one that stays on this site.
 *
 * @param {string} url
 * @param {string} origin
 */
export function foreignHost(url, origin) {
  if (!isLink(url)) return "";
  const target = new URL(url, origin);
  return target.origin === origin ? "" : target.host;
}
