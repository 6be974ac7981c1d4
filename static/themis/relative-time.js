import { Alarm, systemClock } from "./clock.js";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const RELATIVE_UNTIL = 30 * DAY;

/** @param {number} then @param {number} now @param {string} [language] */
export function relativeTime(then, now, language) {
  const age = Math.max(0, now - then);
  if (age >= RELATIVE_UNTIL) {
    const date = new Intl.DateTimeFormat(language, { dateStyle: "medium" });
    return { text: date.format(then), wait: Infinity };
  }
  if (age < MINUTE) {
    const auto = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
    return { text: auto.format(0, "second"), wait: MINUTE - age };
  }
  /** @type {[number, Intl.RelativeTimeFormatUnit]} */
  const [size, unit] = age < HOUR ? [MINUTE, "minute"] : age < DAY ? [HOUR, "hour"] : [DAY, "day"];
  const format = new Intl.RelativeTimeFormat(language);
  return { text: format.format(-Math.floor(age / size), unit), wait: size - (age % size) };
}

/** @param {number} then @param {string} [language] */
export function fullTime(then, language) {
  return new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "short" }).format(then);
}

export class Ticker {
  /** @type {Set<() => number>} */
  #updates = new Set();
  #alarm;
  #page;

  /** @type {Ticker | undefined} */
  static #ofPage;

  static get ofPage() {
    return (Ticker.#ofPage ??= new Ticker(document));
  }

  /** @param {Document} page @param {Clock} [clock] */
  constructor(page, clock = systemClock) {
    this.#page = page;
    this.#alarm = new Alarm(clock, () => this.tick());
    page.addEventListener("visibilitychange", () => this.tick());
  }

  /** @param {() => number} update */
  add(update) {
    this.#updates.add(update);
    this.tick();
  }

  /** @param {() => number} update */
  delete(update) {
    this.#updates.delete(update);
    if (this.#updates.size === 0) this.#alarm.clear();
  }

  tick() {
    this.#alarm.clear();
    if (this.#page.visibilityState === "hidden" || this.#updates.size === 0) return;
    const wait = Math.min(...[...this.#updates].map((update) => update()));
    // A day at most, and not so short that rounding makes it spin.
    this.#alarm.set(Math.min(Math.max(wait, 1_000), DAY));
  }
}
