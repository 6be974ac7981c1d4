import { Alarm, systemClock } from "./clock.js";
import { Connection } from "./connection.js";
import { followPage, tabMemory } from "./lifecycle.js";
import { Operation, Operations } from "./operations.js";
import { isItem } from "./protocol.js";
import { ChangeEvent, NewItemsEvent, Store } from "./store.js";
import { Tabs } from "./tabs.js";

/** @import { FrameEvent } from "./connection.js" */

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
 * told, with what the person has just done laid over it, and the verbs. Of the pages
 * that a browser has open one holds the connection, and the others hear of it.
 *
 * Fires "change" (anything shown), "new" (`NewItemsEvent`), "applied" (`AppliedEvent`)
 * and "transport".
 */
export class Mailbox extends EventTarget {
  #config;
  #store;
  #connection;
  #tabs;
  #operations;
  #closing;
  #follow = new AbortController();
  /** @type {Set<object>} */
  #holders = new Set();
  /** Where the next page of older ones begins; null = at the newest. @type {string | null} */
  #cursor = null;
  /** Of the leading tab, while another one leads. @type {Transport | null} */
  #leaders = null;

  /** @type {Map<string, Mailbox>} */
  static #open = new Map();

  /**
   * The page's mailbox of this person, opened if need be.
   *
   * @param {MailboxConfig} config
   */
  static at(config) {
    const name = `${config.stateUrl} ${config.user}`;
    const known = Mailbox.#open.get(name);
    if (known !== undefined && !known.transport.isSignedOut) {
      // The newest token: signing in changes it.
      known.#config = config;
      return known;
    }
    const mailbox = new Mailbox(config);
    Mailbox.#open.set(name, mailbox);
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
      socketUrl: socketAddress(config.socketUrl, config.user),
      headers: this.#headers,
      pollInterval: config.pollInterval,
      position: () => this.#store.position,
      isHidden: () => document.visibilityState === "hidden",
      memory: tabMemory,
    });
    this.#tabs = new Tabs({
      mount: config.mountUrl,
      user: config.user,
      session: config.session,
      clock: systemClock,
      holder: {
        position: () => this.#store.position,
        transport: () => this.transport,
        onPing: (position) => this.#missing(position),
        onLead: () => this.#lead(),
        onFollow: () => this.#connection.stop(),
        onFrame: (frame) => {
          if (!this.#connection.isSignedOut) this.#apply(frame);
        },
        onTransport: (transport) => this.#hearTransport(transport),
        onWish: (wish) => this.#connection[wish]?.(),
        onSignedOut: () => this.#connection.signOut(),
        onNewcomer: (session) => this.#meet(session),
      },
    });
    this.#operations = new Operations({
      url: config.notificationsUrl,
      headers: () => {
        const { csrfCookie, csrfToken } = this.#config;
        return { ...this.#headers, "X-CSRFToken": readCookie(csrfCookie) ?? csrfToken };
      },
      holder: {
        onAnswer: (frame) => this.#take(frame),
        onSignedOut: () => this.#connection.signOut(),
        onOutdated: () => this.refresh(),
        onChange: () => this.#changed(),
      },
    });
    this.#connection.addEventListener("frame", (event) => this.#take(/** @type {FrameEvent} */ (event).frame));
    this.#connection.addEventListener("transport", () => this.#transported());
    this.#store.addEventListener("change", () => this.#changed());
    this.#store.addEventListener("new", (event) => {
      this.dispatchEvent(new NewItemsEvent(/** @type {NewItemsEvent} */ (event).items));
    });
    this.#store.addEventListener("expiry", () => {
      // A page that nobody sees asks when it is shown.
      if (document.visibilityState === "visible") this.#wish("expire");
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
    if (this.#leaders !== null && !this.#connection.isSignedOut) return this.#leaders;
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
    followPage(this, this.#follow.signal);
    this.#tabs.start();
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
    this.#wish("refresh");
  }

  /** The page came back, or the computer, or the network: is all as it seems? */
  wake() {
    this.#wish("wake");
    this.#tabs.challenge();
  }

  /** The page is put away: let go of all that is shared. */
  suspend() {
    this.#tabs.stop();
    this.#connection.stop();
  }

  /** The page was taken out again. */
  resume() {
    if (!this.#connection.isSignedOut) this.#tabs.start();
  }

  /** Whether this page is to speak for all that the browser has open. */
  get isLeader() {
    return this.#tabs.isLeader;
  }

  /** Whether the person is looking at one of those pages. @returns {Promise<boolean>} */
  isAnyFocused() {
    return this.#tabs.isAnyFocused();
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
        headers: { Accept: "application/json", ...this.#headers },
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
   * @param {Selected} selection
   */
  #run(verb, selection) {
    const operation = new Operation(verb, selection, new Date(this.now()).toISOString());
    return { operation, finished: this.#operations.run(operation) };
  }

  /**
   * Take in what the server told this page, and pass it on.
   *
   * @param {StateFrame} frame
   */
  #take(frame) {
    this.#tabs.tellFrame(frame);
    this.#apply(frame);
  }

  /** @param {StateFrame} frame */
  #apply(frame) {
    const outcome = this.#store.apply(frame);
    if (outcome === "applied") this.dispatchEvent(new AppliedEvent(frame));
    if (outcome !== "gap") return;
    if (this.#tabs.isLeader) this.#connection.sync(frame);
    else this.#tabs.challenge();
  }

  #lead() {
    this.#leaders = null;
    this.#connection.start();
    this.#transported();
  }

  /**
   * What a page lacks that stands here; and if it is ahead, ask for what it has.
   *
   * @param {Position} position
   */
  #missing({ epoch, revision }) {
    const { position } = this.#store;
    if (epoch !== null && position.epoch !== null && (epoch !== position.epoch || revision > position.revision)) {
      this.#connection.sync({ epoch, revision });
    }
    return epoch === position.epoch && revision >= position.revision ? null : this.#store.toSnapshot();
  }

  /** @param {Transport} transport Of the page that leads. */
  #hearTransport(transport) {
    if (this.#tabs.isLeader || this.#connection.isSignedOut) return;
    this.#leaders = transport;
    this.#transported();
  }

  #transported() {
    const { state, isStale, isSignedOut } = this.transport;
    if (isSignedOut) this.#signOut();
    else if (!isStale && (state === "open" || state === "polling")) this.#operations.resume();
    this.#tabs.tellTransport();
    this.dispatchEvent(new Event("transport"));
  }

  #signOut() {
    this.#leaders = null;
    this.#tabs.tellSignedOut();
    this.#tabs.resign();
    this.#operations.clear();
    this.#store.clear();
  }

  /**
   * A page of another session is there. If of the same person, that session is this
   * page's too; if of another, this page's may be over.
   *
   * @param {string} session
   */
  #meet(session) {
    if (session === "") {
      if (this.#tabs.isLeader) this.#connection.check();
    } else if (this.#connection.isSignedOut) {
      this.#connection.revive();
      this.#tabs.rejoin(session);
    }
  }

  /**
   * What only the page can do that holds the connection.
   *
   * @param {Wish} wish
   */
  #wish(wish) {
    if (this.#tabs.isLeader) this.#connection[wish]();
    else this.#tabs.tellWish(wish);
  }

  /**
   * Whom the page was made for, so that nobody else is answered.
   *
   * @returns {Record<string, string>}
   */
  get #headers() {
    const { user } = this.#config;
    return user === "" ? {} : { "Themis-For": user };
  }

  #changed() {
    this.dispatchEvent(new ChangeEvent());
  }

  #close() {
    this.suspend();
    const name = `${this.#config.stateUrl} ${this.#config.user}`;
    if (Mailbox.#open.get(name) === this) Mailbox.#open.delete(name);
  }
}

/**
 * A cookie that follows what other tabs do; null if there is none.
 *
 * @param {string} name
 */
function readCookie(name) {
  const start = `${name}=`;
  const found = name === "" ? undefined : document.cookie.split("; ").find((cookie) => cookie.startsWith(start));
  return found === undefined ? null : decodeURIComponent(found.slice(start.length));
}

/**
 * The whole address of a socket that the server names by path or in full. Never a
 * plain one from a page that came encrypted.
 *
 * @param {string} url
 * @param {string} user Whom the page was made for.
 */
function socketAddress(url, user) {
  if (url === "" || !URL.canParse(url, location.href)) return "";
  const address = new URL(url, location.href);
  const isSecure = location.protocol === "https:" || /^(https|wss):$/.test(address.protocol);
  address.protocol = isSecure ? "wss:" : "ws:";
  // A script can't give a handshake a header.
  if (user !== "") address.searchParams.set("for", user);
  return address.href;
}
