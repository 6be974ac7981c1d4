import { Alarm, systemClock } from "./clock.js";

const GATHER = 3_000;
const SPACING = 10_000;

/** There, and empty, before anything is said: a region that appears together with its text is not read. */
export class LiveRegion {
  /** @type {HTMLElement | null} */
  #element = null;

  /** Again if a body swap has taken it away. */
  prepare() {
    if (this.#element?.isConnected) return this.#element;
    // The copy that a page cache made of an earlier one.
    document.querySelector("[data-themis-live]")?.remove();
    const element = document.createElement("div");
    element.className = "themis-visually-hidden";
    element.setAttribute("role", "status");
    element.setAttribute("aria-live", "polite");
    element.setAttribute("data-themis-live", "");
    document.body.append(element);
    return (this.#element = element);
  }

  /** @param {string} text */
  say(text) {
    if (text === "" || document.visibilityState === "hidden") return;
    const element = this.prepare();
    // A no-break space more, or the same text a second time would not be spoken.
    element.textContent = element.textContent === text ? `${text}\u00a0` : text;
  }
}

export class NewsAnnouncer {
  #mailbox;
  #speak;
  #clock;
  #alarm;
  #lastAt = -Infinity;
  /** @type {Set<string>} */
  #pending = new Set();

  /** @param {NewsMailbox} mailbox @param {(count: number) => void} speak @param {NewsOptions} [options] */
  constructor(mailbox, speak, { signal, clock = systemClock } = {}) {
    this.#mailbox = mailbox;
    this.#speak = speak;
    this.#clock = clock;
    this.#alarm = new Alarm(clock, () => this.#announce());
    const gather = (/** @type {any} */ { items }) => this.#gather(items);
    mailbox.addEventListener("new", gather, { ...(signal && { signal }) });
    signal?.addEventListener("abort", () => this.#alarm.clear());
  }

  /** @param {Item[]} items */
  #gather(items) {
    for (const item of items) if (item.read_at === null) this.#pending.add(item.id);
    if (this.#pending.size === 0 || this.#alarm.isSet) return;
    this.#alarm.set(Math.max(GATHER, this.#lastAt + SPACING - this.#clock.now()));
  }

  #announce() {
    for (const item of this.#mailbox.items) if (item.read_at !== null) this.#pending.delete(item.id);
    const count = Math.min(this.#pending.size, this.#mailbox.unread);
    this.#pending.clear();
    if (count === 0) return;
    this.#lastAt = this.#clock.now();
    this.#speak(count);
  }
}
