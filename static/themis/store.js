import { systemClock, Alarm } from "./clock.js";
import { newestFirst, VERSION } from "./protocol.js";

export const WINDOW = 20;

/** While somebody reads on: more nodes make a page slow. */
export const MOST = 200;

/** setTimeout counts in 32 bits; a longer wait is taken in steps. */
const LONGEST_WAIT = 3_600_000;

const NOTHING = { epoch: null, revision: 0, unread: 0, desktop: false, poll_interval: 0 };

/**
 * After `apply()`, whatever frames were lost, it equals a fresh snapshot of its revision, or
 * says "gap". Fires "change", "new", and "expiry" when its count is that before an expiry.
 */
export class Store extends EventTarget {
  #clock;
  #window;
  #limit;
  #expiry;
  /** @type {Known} */
  #known;
  /** @type {Item[]} */
  #held = [];
  #hasOlder = false;
  #offset = 0;
  #expiresAt = Infinity;

  /** @param {StoreOptions} [options] */
  constructor({ window = WINDOW, unread = 0, clock = systemClock } = {}) {
    super();
    this.#window = this.#limit = window;
    this.#known = { ...NOTHING, unread };
    this.#clock = clock;
    this.#expiry = new Alarm(clock, () => this.#expire());
  }

  get isLoaded() {
    return this.epoch !== null;
  }

  get epoch() {
    return this.#known.epoch;
  }

  get revision() {
    return this.#known.revision;
  }

  get unread() {
    return this.#known.unread;
  }

  get desktop() {
    return this.#known.desktop;
  }

  get position() {
    const { epoch, revision } = this.#known;
    return { epoch, revision };
  }

  get items() {
    const now = this.now();
    return this.#held.filter((item) => expiryOf(item) > now);
  }

  get hasOlder() {
    return this.#hasOlder && this.#held.length < MOST;
  }

  now() {
    return this.#clock.now() + this.#offset;
  }

  /** @param {StateFrame} frame */
  apply(frame) {
    const { epoch, revision, unread, desktop, poll_interval } = frame;
    const sameEpoch = epoch === this.epoch;
    if (frame.type === "changes") {
      if (!sameEpoch || frame.since > this.revision) return "gap";
      if (this.revision >= revision) return "ignored";
    } else if (sameEpoch && revision < this.revision) {
      // An answer that was overtaken. A mailbox that really went back has a new epoch.
      return "ignored";
    }

    const items = sameEpoch ? this.#newItems(frame.items) : [];
    const merged = this.#merged(frame);
    this.#held = merged.filter((item, place) => place < this.#window || this.#isReached(item)).slice(0, this.#limit);
    if (frame.type === "snapshot") this.#hasOlder = merged.length >= this.#window;
    else if (merged.length > this.#held.length) this.#hasOlder = true;
    this.#known = { epoch, revision, unread, desktop, poll_interval };
    this.#offset = Date.parse(frame.now) - this.#clock.now();
    this.#changed();
    if (items.length > 0) this.dispatchEvent(Object.assign(new Event("new"), { items }));
    return "applied";
  }

  widen() {
    this.#limit = MOST;
  }

  narrow() {
    this.#limit = this.#window;
    if (this.#held.length > this.#window) this.#hasOlder = true;
    this.#held = this.#held.slice(0, this.#window);
  }

  /**
   * What a frame brought stays as it is: the page may have been read before it.
   *
   * @param {Item[]} items @param {boolean} hasOlder
   */
  extend(items, hasOlder) {
    const before = this.#held.length;
    const older = items.filter((item) => before > 0 && !this.#isReached(item));
    this.#held = [...this.#held, ...older.sort(newestFirst)].slice(0, this.#limit);
    this.#hasOlder = hasOlder;
    this.#changed();
    return this.#held.length - before;
  }

  /** @returns {StateFrame | null} */
  toSnapshot() {
    const { epoch } = this;
    if (epoch === null) return null;
    const items = this.#held.slice(0, this.#window);
    return { ...this.#known, type: "snapshot", v: VERSION, epoch, items, now: new Date(this.now()).toISOString() };
  }

  clear() {
    this.#known = NOTHING;
    this.#held = [];
    this.#hasOlder = false;
    this.#changed();
  }

  /** The items that ring: stamped after what this page held, and not held by it. @param {Item[]} items */
  #newItems(items) {
    const held = new Set(this.#held.map(({ id }) => id));
    return items.filter((item) => item.created_revision > this.revision && !held.has(item.id)).sort(newestFirst);
  }

  /** @param {StateFrame} frame */
  #merged(frame) {
    const held = frame.type === "changes" ? this.#held : [];
    const byId = new Map(held.map((item) => [item.id, item]));
    if (frame.type === "changes") for (const id of frame.removed) byId.delete(id);
    for (const item of frame.items) {
      if (!(Number(byId.get(item.id)?.revision) > item.revision)) byId.set(item.id, item);
    }
    return [...byId.values()].sort(newestFirst);
  }

  /** Beyond the window, which a frame keeps whole, nothing may follow upon a hole. @param {Item} item */
  #isReached(item) {
    const oldest = this.#held.at(-1);
    return oldest !== undefined && newestFirst(item, oldest) <= 0;
  }

  #changed() {
    this.#watchExpiry();
    this.dispatchEvent(new Event("change"));
  }

  #watchExpiry() {
    this.#expiresAt = Math.min(Infinity, ...this.items.map(expiryOf));
    if (this.#expiresAt === Infinity) this.#expiry.clear();
    else this.#expiry.set(Math.min(this.#expiresAt - this.now(), LONGEST_WAIT));
  }

  #expire() {
    const hasCome = this.now() >= this.#expiresAt;
    if (!hasCome) return this.#watchExpiry();
    this.#changed();
    this.dispatchEvent(new Event("expiry"));
  }
}

/** @param {Item} item */
function expiryOf({ expires_at }) {
  return expires_at === null ? Infinity : Date.parse(expires_at);
}
