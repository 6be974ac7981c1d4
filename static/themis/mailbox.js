import { Alarm, systemClock } from "./clock.js";
import { Connection } from "./connection.js";
import { followPage } from "./lifecycle.js";
import { Operation, Operations } from "./operations.js";
import { isItem } from "./protocol.js";
import { ChangeEvent, NewItemsEvent, Store } from "./store.js";

/** @import { FrameEvent, TransportState } from "./connection.js" */
/** @import { Selection, Verb } from "./operations.js" */
/** @import { Item, StateFrame } from "./protocol.js" */

/**
 * @typedef {object} MailboxConfig
 * @property {string} stateUrl
 * @property {string} notificationsUrl
 * @property {string} socketUrl
 * @property {string} csrfToken
 * @property {number} pollInterval
 * @property {number} unread
 *
 * @typedef {object} Transport How the page hears of changes.
 * @property {TransportState} state
 * @property {boolean} isStale Out of touch long enough that the person should know.
 * @property {boolean} isSignedOut
 * @property {number | null} heardAt When the server last told or confirmed the state.
 */

/** A body swap takes the bell out and puts another in: the mailbox outlives that. */
const GRACE = 1_000;

const PAGE = 20;

/** Frames that were taken in; what they say about a single notification is for lists. */
export class AppliedEvent extends Event {
  /** @param {StateFrame} frame */
  constructor(frame) {
    super("applied");
    this.frame = frame;
  }
}

/**
 * One person's mailbox on this page, shared by all its bells and lists: what the server
 * told, with what the person has just done laid over it, and the verbs.
 *
 * Fires "change" (anything shown), "new" (`NewItemsEvent`), "applied" (`AppliedEvent`)
 * and "transport".
 */
export class Mailbox extends EventTarget {
  #config;
  #store;
  #connection;
  #operations;
  #closing;
  #follow = new AbortController();
  /** @type {Set<object>} */
  #holders = new Set();
  /** The address of the next page of older ones; null = from the newest on. @type {string | null} */
  #cursor = null;

  /** @type {Map<string, Mailbox>} */
  static #open = new Map();

  /**
   * The page's mailbox of this state URL, opened if need be.
   *
   * @param {MailboxConfig} config
   */
  static at(config) {
    const known = Mailbox.#open.get(config.stateUrl);
    if (known !== undefined && !known.transport.isSignedOut) {
      // The newest token: signing in changes it.
      known.#config = config;
      return known;
    }
    const mailbox = new Mailbox(config);
    Mailbox.#open.set(config.stateUrl, mailbox);
    return mailbox;
  }

  /** @param {MailboxConfig} config */
  constructor(config) {
    super();
    this.#config = config;
    this.#closing = new Alarm(systemClock, () => this.#close());
    this.#store = new Store({ unread: config.unread });
    this.#connection = new Connection({
      stateUrl: config.stateUrl,
      socketUrl: socketAddress(config.socketUrl),
      pollInterval: config.pollInterval,
      position: () => this.#store.position,
    });
    this.#operations = new Operations({
      url: config.notificationsUrl,
      token: () => this.#config.csrfToken,
      holder: {
        onAnswer: (frame) => this.#apply(frame),
        onSignedOut: () => this.#connection.signOut(),
        onOutdated: () => this.refresh(),
        onChange: () => this.#changed(),
      },
    });
    this.#connection.addEventListener("frame", (event) => {
      this.#apply(/** @type {FrameEvent} */ (event).frame);
    });
    this.#store.addEventListener("change", () => this.#changed());
    this.#store.addEventListener("new", (event) => {
      this.dispatchEvent(new NewItemsEvent(/** @type {NewItemsEvent} */ (event).items));
    });
    this.#store.addEventListener("expiry", () => {
      // A page that nobody sees asks when it is shown.
      if (document.visibilityState === "visible") this.#connection.expire();
    });
    this.#connection.addEventListener("transport", () => {
      if (this.#connection.isSignedOut) {
        this.#operations.clear();
        this.#store.clear();
      } else if (!this.#connection.isStale && ["open", "polling"].includes(this.#connection.state)) {
        this.#operations.resume();
      }
      this.dispatchEvent(new Event("transport"));
    });
  }

  /** The newest notifications, newest first: 20, or more after `loadOlder()`. */
  get items() {
    return this.#operations.overlay(this.#store.items, 0).items;
  }

  /** Unread notifications; 10,000 means more than 9,999. */
  get unread() {
    return this.#operations.overlay(this.#store.items, this.#store.unread).unread;
  }

  /** Whether the server has told anything yet. */
  get isLoaded() {
    return this.#store.isLoaded;
  }

  get position() {
    return this.#store.position;
  }

  /** Whether the person's account asks for desktop notifications. */
  get desktop() {
    return this.#store.desktop;
  }

  get hasOlder() {
    return this.#store.hasOlder;
  }

  /** @returns {Transport} */
  get transport() {
    const { state, isStale, isSignedOut, heardAt } = this.#connection;
    return { state, isStale, isSignedOut, heardAt };
  }

  /** The server's time, in milliseconds. */
  now() {
    return this.#store.now();
  }

  /** @param {object} holder Keeps the mailbox open until it releases it. */
  retain(holder) {
    this.#closing.clear();
    this.#holders.add(holder);
    if (this.#holders.size > 1) return;
    if (this.#follow.signal.aborted) this.#follow = new AbortController();
    followPage(this.#connection, this.#follow.signal);
    this.#connection.start();
  }

  /** @param {object} holder */
  release(holder) {
    this.#holders.delete(holder);
    if (this.#holders.size > 0) return;
    this.#follow.abort();
    this.#closing.set(GRACE);
  }

  /**
   * Whether this holder speaks for the mailbox: one does, however many bells there are.
   *
   * @param {object} holder
   */
  isSpokenForBy(holder) {
    const [first] = this.#holders;
    return first === holder;
  }

  /**
   * Do something: shown at once, and taken back if the server doesn't agree.
   *
   * @param {Verb} verb
   * @param {string[]} ids
   * @returns {{operation: Operation, finished: Promise<boolean>}} Fulfilled with whether it worked.
   */
  change(verb, ids) {
    return this.#run(verb, { ids });
  }

  /**
   * Mark what the mailbox held at a revision; what came later stays unread.
   *
   * @param {number} upTo The highest created revision that was shown.
   */
  readUpTo(upTo) {
    return this.#run("read", { upTo, epoch: this.#store.epoch ?? "" });
  }

  /**
   * Undo one operation as a whole, and nothing that was done before or after it.
   *
   * @param {Operation} operation One that is done.
   */
  undo({ verb, at }) {
    return this.#run(verb === "dismiss" ? "restore" : "unread", { at: at ?? "" });
  }

  /** @param {Operation} operation One that failed. @returns {Promise<boolean>} */
  retry(operation) {
    return this.#operations.run(operation);
  }

  /** A notification of some list, as what the person has just done leaves it. @param {Item} item */
  preview(item) {
    return this.#operations.overlay([item], 0).items[0] ?? item;
  }

  /** The operation about this notification that failed. @param {string} id */
  failureOf(id) {
    return this.#operations.failureOf(id);
  }

  /** The operation about many notifications that failed. */
  get failure() {
    return this.#operations.failure;
  }

  /** Ask for the present state, whatever the transport does. */
  refresh() {
    this.#connection.refresh();
  }

  /** Keep more than the newest, for somebody who reads on; `false` lets it go again. @param {boolean} isWide */
  widen(isWide) {
    if (isWide) {
      this.#store.widen();
    } else {
      this.#cursor = null;
      this.#store.narrow();
    }
  }

  /** @returns {Promise<number | null>} How many older ones were added; null = it failed. */
  async loadOlder() {
    const query = new URLSearchParams(
      this.#cursor === null ? { limit: String(2 * PAGE) } : { limit: String(PAGE), before: this.#cursor },
    );
    try {
      const response = await fetch(`${this.#config.notificationsUrl}?${query}`, {
        headers: { Accept: "application/json" },
        cache: "no-store",
        credentials: "same-origin",
      });
      if (response.status === 401) this.#connection.signOut();
      if (!response.ok) return null;
      /** @type {{items: Item[], next: string | null}} */
      const { items, next } = await response.json();
      this.#cursor = next;
      return this.#store.extend(items.filter(isItem), next !== null);
    } catch {
      return null;
    }
  }

  /**
   * @param {Verb} verb
   * @param {Selection} selection
   */
  #run(verb, selection) {
    const operation = new Operation(verb, selection, new Date(this.now()).toISOString());
    return { operation, finished: this.#operations.run(operation) };
  }

  /** @param {StateFrame} frame */
  #apply(frame) {
    const outcome = this.#store.apply(frame);
    if (outcome === "gap") this.#connection.sync(frame);
    if (outcome === "applied") this.dispatchEvent(new AppliedEvent(frame));
  }

  #changed() {
    this.dispatchEvent(new ChangeEvent());
  }

  #close() {
    this.#connection.stop();
    if (Mailbox.#open.get(this.#config.stateUrl) === this) Mailbox.#open.delete(this.#config.stateUrl);
  }
}

/**
 * The whole address of a socket that the server names by path or in full. Never a
 * plain one from a page that came encrypted.
 *
 * @param {string} url
 */
function socketAddress(url) {
  if (url === "" || !URL.canParse(url, location.href)) return "";
  const address = new URL(url, location.href);
  const isSecure = location.protocol === "https:" || /^(https|wss):$/.test(address.protocol);
  address.protocol = isSecure ? "wss:" : "ws:";
  return address.href;
}
