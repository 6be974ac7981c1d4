import { Alarm, systemClock } from "./clock.js";
import { Connection } from "./connection.js";
import { followPage } from "./lifecycle.js";
import { decode, isStateFrame } from "./protocol.js";
import { Store } from "./store.js";

/** @import { FrameEvent } from "./connection.js" */
/** @import { StateFrame } from "./protocol.js" */

/**
 * @typedef {object} MailboxConfig
 * @property {string} stateUrl
 * @property {string} readUrl
 * @property {string} socketUrl
 * @property {string} csrfToken
 * @property {number} pollInterval
 * @property {number} unread
 */

/** A body swap takes the bell out and puts another in: the socket outlives that. */
const GRACE = 1_000;

const REQUEST_TIMEOUT = 15_000;

/**
 * One person's mailbox on this page: store and connection, shared by all bells that
 * name the same state URL, and the verbs that change it.
 */
export class Mailbox {
  #config;
  #closing;
  #follow = new AbortController();
  /** @type {Set<object>} */
  #holders = new Set();

  /** @type {Map<string, Mailbox>} */
  static #open = new Map();

  /**
   * The page's mailbox of this state URL, opened if need be.
   *
   * @param {MailboxConfig} config
   */
  static at(config) {
    const known = Mailbox.#open.get(config.stateUrl);
    if (known !== undefined && !known.connection.isSignedOut) {
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
    this.#config = config;
    this.#closing = new Alarm(systemClock, () => this.#close());
    this.store = new Store({ unread: config.unread });
    this.connection = new Connection({
      stateUrl: config.stateUrl,
      socketUrl: socketAddress(config.socketUrl),
      pollInterval: config.pollInterval,
      position: () => this.store.position,
    });
    this.connection.addEventListener("frame", (event) => {
      this.#apply(/** @type {FrameEvent} */ (event).frame);
    });
    this.store.addEventListener("expiry", () => {
      // A page that nobody sees asks when it is shown.
      if (document.visibilityState === "visible") this.connection.expire();
    });
    this.connection.addEventListener("transport", () => {
      if (this.connection.isSignedOut) this.store.clear();
    });
  }

  /** @param {object} holder Keeps the mailbox open until it releases it. */
  retain(holder) {
    this.#closing.clear();
    this.#holders.add(holder);
    if (this.#holders.size > 1) return;
    if (this.#follow.signal.aborted) this.#follow = new AbortController();
    followPage(this.connection, this.#follow.signal);
    this.connection.start();
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

  /** @param {string[]} ids @returns {Promise<boolean>} Whether it worked. */
  markRead(ids) {
    return this.#post({ ids });
  }

  /**
   * Mark what the mailbox held at a revision; what came later stays unread.
   *
   * @param {number} upTo The highest created revision that was shown.
   * @returns {Promise<boolean>} Whether it worked.
   */
  markReadUpTo(upTo) {
    return this.#post({ up_to: upTo, epoch: this.store.epoch });
  }

  /** @param {Record<string, unknown>} body */
  async #post(body) {
    const { readUrl, csrfToken } = this.#config;
    try {
      const response = await fetch(readUrl, {
        method: "POST",
        headers: {
          Accept: "application/json",
          "Content-Type": "application/json",
          "X-CSRFToken": csrfToken,
        },
        body: JSON.stringify(body),
        credentials: "same-origin",
        // Arrives although the page may be on its way elsewhere.
        keepalive: true,
        signal: AbortSignal.timeout(REQUEST_TIMEOUT),
      });
      if (response.status === 401) this.connection.signOut();
      // Gone, or another epoch: what the page shows is not what the server has.
      if (response.status === 404 || response.status === 409) this.connection.refresh();
      if (!response.ok) return response.status === 404;
      const frame = decode(await response.text());
      if (!isStateFrame(frame)) return false;
      this.#apply(frame);
      return true;
    } catch {
      return false;
    }
  }

  /** @param {StateFrame} frame */
  #apply(frame) {
    if (this.store.apply(frame) === "gap") this.connection.sync(frame);
  }

  #close() {
    this.connection.stop();
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
