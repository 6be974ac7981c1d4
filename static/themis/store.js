import { systemClock, Alarm } from "./clock.js";
import { newestFirst } from "./protocol.js";

/** @import { Clock } from "./clock.js" */
/** @import { Item, StateFrame, Position } from "./protocol.js" */

/** How many of the newest notifications a page holds: those a snapshot carries. */
export const WINDOW = 20;

/** setTimeout counts in 32 bits; a longer wait is taken in steps. */
const LONGEST_WAIT = 3_600_000;

/** Something the page shows has changed. */
export class ChangeEvent extends Event {
  constructor() {
    super("change");
  }
}

/** Something the page held has expired: the count it has is the one before that. */
export class ExpiryEvent extends Event {
  constructor() {
    super("expiry");
  }
}

/** Notifications arrived that this page has never held. */
export class NewItemsEvent extends Event {
  /** @param {Item[]} items Newest first. */
  constructor(items) {
    super("new");
    this.items = items;
  }
}

/**
 * What the page knows of one mailbox: the window of newest notifications and the
 * counts that belong to a revision. Fires "change", "expiry" and "new".
 *
 * Guarantee: however frames are repeated, reordered or lost on the way, after
 * `apply()` the store equals a fresh snapshot of the revision it claims to hold,
 * or says "gap" and stays at the older one. Counts are the server's, never sums.
 */
export class Store extends EventTarget {
  #clock;
  #window;
  #expiry;
  /** @type {string | null} */
  #epoch = null;
  #revision = 0;
  #unread;
  #desktop = false;
  #offset = 0;
  /** When the first of what is held expires, by the server's clock. */
  #expiresAt = Infinity;
  /** @type {Item[]} */
  #held = [];

  /**
   * @param {object} [options]
   * @param {number} [options.window]
   * @param {number} [options.unread] The count the server rendered into the page.
   * @param {Clock} [options.clock]
   */
  constructor({ window = WINDOW, unread = 0, clock = systemClock } = {}) {
    super();
    this.#window = window;
    this.#unread = unread;
    this.#clock = clock;
    this.#expiry = new Alarm(clock, () => this.#expire());
  }

  /** Whether a frame has been applied yet. */
  get isLoaded() {
    return this.#epoch !== null;
  }

  get epoch() {
    return this.#epoch;
  }

  get revision() {
    return this.#revision;
  }

  get unread() {
    return this.#unread;
  }

  /** Whether the person wants desktop notifications. */
  get desktop() {
    return this.#desktop;
  }

  /** @returns {Position} */
  get position() {
    return { epoch: this.#epoch, revision: this.#revision };
  }

  /** The newest notifications that have not expired, newest first. */
  get items() {
    const now = this.now();
    return this.#held.filter((item) => !hasExpired(item, now));
  }

  /** The server's time, as far as the last frame told it. */
  now() {
    return this.#clock.now() + this.#offset;
  }

  /**
   * Take a frame in. "gap" means that something lies between what is held and
   * what the frame tells: ask the server for the difference.
   *
   * @param {StateFrame} frame
   * @returns {"applied" | "ignored" | "gap"}
   */
  apply(frame) {
    const sameEpoch = frame.epoch === this.#epoch;
    if (frame.type === "changes") {
      if (!sameEpoch || frame.since > this.#revision) return "gap";
      if (this.#revision >= frame.revision) return "ignored";
    } else if (sameEpoch && frame.revision < this.#revision) {
      // An answer that was overtaken. A mailbox that really went back has a new epoch.
      return "ignored";
    }

    const fresh = sameEpoch ? this.#newItems(frame.items) : [];
    this.#held = this.#merged(frame);
    this.#epoch = frame.epoch;
    this.#revision = frame.revision;
    this.#unread = frame.unread;
    this.#desktop = frame.desktop;
    this.#offset = Date.parse(frame.now) - this.#clock.now();
    this.#watchExpiry();
    this.dispatchEvent(new ChangeEvent());
    if (fresh.length > 0) this.dispatchEvent(new NewItemsEvent(fresh));
    return "applied";
  }

  /** Forget everything: the person has signed out. */
  clear() {
    this.#epoch = null;
    this.#revision = 0;
    this.#unread = 0;
    this.#held = [];
    this.#expiry.clear();
    this.dispatchEvent(new ChangeEvent());
  }

  /**
   * The items that ring: stamped after what this page held, and not held by it.
   *
   * @param {Item[]} items
   */
  #newItems(items) {
    const held = new Set(this.#held.map((item) => item.id));
    return items
      .filter((item) => item.created_revision > this.#revision && !held.has(item.id))
      .sort(newestFirst);
  }

  /** @param {StateFrame} frame */
  #merged(frame) {
    /** @type {Map<string, Item>} */
    const byId = new Map();
    if (frame.type === "changes") {
      for (const item of this.#held) byId.set(item.id, item);
      for (const id of frame.removed) byId.delete(id);
    }
    for (const item of frame.items) byId.set(item.id, item);
    return [...byId.values()].sort(newestFirst).slice(0, this.#window);
  }

  #watchExpiry() {
    const now = this.now();
    const times = this.#held
      .filter((item) => item.expires_at !== null && !hasExpired(item, now))
      .map((item) => Date.parse(String(item.expires_at)));
    this.#expiresAt = Math.min(...times, Infinity);
    if (times.length === 0) this.#expiry.clear();
    else this.#expiry.set(Math.min(this.#expiresAt - now, LONGEST_WAIT));
  }

  #expire() {
    const hasCome = this.now() >= this.#expiresAt;
    this.#watchExpiry();
    if (!hasCome) return;
    this.dispatchEvent(new ChangeEvent());
    this.dispatchEvent(new ExpiryEvent());
  }
}

/**
 * @param {Item} item
 * @param {number} now
 */
function hasExpired(item, now) {
  return item.expires_at !== null && Date.parse(item.expires_at) <= now;
}
