import { systemClock, Alarm } from "./clock.js";
import { newestFirst, VERSION } from "./protocol.js";


/** How many of the newest notifications a page holds: those a snapshot carries. */
export const WINDOW = 20;

/** How many at most while somebody reads on: more nodes make a page slow. */
export const MOST = 200;

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
  #limit;
  #hasOlder = false;
  #expiry;
  /** @type {string | null} */
  #epoch = null;
  #revision = 0;
  #unread;
  #desktop = false;
  #pollInterval = 0;
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
    this.#limit = window;
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

  /** Whether there are, or may be, older ones that can still be taken in. */
  get hasOlder() {
    return this.#hasOlder && this.#held.length < MOST;
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
    const merged = this.#merged(frame);
    this.#held = merged.filter((item, place) => place < this.#window || this.#isReached(item)).slice(0, this.#limit);
    if (frame.type === "snapshot") this.#hasOlder = merged.length >= this.#window;
    else if (merged.length > this.#held.length) this.#hasOlder = true;
    this.#epoch = frame.epoch;
    this.#revision = frame.revision;
    this.#unread = frame.unread;
    this.#desktop = frame.desktop;
    this.#pollInterval = frame.poll_interval;
    this.#offset = Date.parse(frame.now) - this.#clock.now();
    this.#watchExpiry();
    this.dispatchEvent(new ChangeEvent());
    if (fresh.length > 0) this.dispatchEvent(new NewItemsEvent(fresh));
    return "applied";
  }

  /** Somebody reads on: let nothing go at the end, and take in what is older. */
  widen() {
    this.#limit = MOST;
  }

  /** Back to the window of the newest. */
  narrow() {
    this.#limit = this.#window;
    if (this.#held.length > this.#window) this.#hasOlder = true;
    this.#held = this.#held.slice(0, this.#window);
  }

  /**
   * Take in what is older than all that is held. What a frame brings stays as it is:
   * a page of the list may have been read before it.
   *
   * @param {Item[]} items A page of the list that begins no later than what is held ends.
   * @param {boolean} hasOlder Whether there is another page.
   * @returns {number} How many were added.
   */
  extend(items, hasOlder) {
    const oldest = this.#held.at(-1);
    const older = items.filter((item) => oldest !== undefined && newestFirst(item, oldest) > 0);
    const before = this.#held.length;
    this.#held = [...this.#held, ...older.sort(newestFirst)].slice(0, this.#limit);
    this.#hasOlder = hasOlder;
    this.#watchExpiry();
    this.dispatchEvent(new ChangeEvent());
    return this.#held.length - before;
  }

  /**
   * What is held, as the server would tell it: for another tab.
   *
   * @returns {StateFrame | null} Null as long as nothing is held.
   */
  toSnapshot() {
    if (this.#epoch === null) return null;
    return {
      type: "snapshot",
      v: VERSION,
      epoch: this.#epoch,
      revision: this.#revision,
      unread: this.#unread,
      items: this.#held.slice(0, this.#window),
      now: new Date(this.now()).toISOString(),
      poll_interval: this.#pollInterval,
      desktop: this.#desktop,
    };
  }

  /** Forget everything: the person has signed out. */
  clear() {
    this.#epoch = null;
    this.#revision = 0;
    this.#unread = 0;
    this.#held = [];
    this.#hasOlder = false;
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
    for (const item of frame.items) {
      if (!(Number(byId.get(item.id)?.revision) > item.revision)) byId.set(item.id, item);
    }
    return [...byId.values()].sort(newestFirst);
  }

  /**
   * Whether what is held goes as far back as this: beyond the window, which a frame keeps
   * whole, nothing may follow upon a hole.
   *
   * @param {Item} item
   */
  #isReached(item) {
    const oldest = this.#held.at(-1);
    return oldest !== undefined && newestFirst(item, oldest) <= 0;
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
