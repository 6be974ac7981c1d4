import { readCookie, socketAddress } from "./address.js";
import { Alarm, systemClock } from "./clock.js";
import { Connection } from "./connection.js";
import { followPage, tabMemory } from "./lifecycle.js";
import { Older } from "./older.js";
import { Operation, Operations } from "./operations.js";
import { Store } from "./store.js";
import { Tabs } from "./tabs.js";

/** A body swap takes the bell out and puts another in: the mailbox outlives that. */
const GRACE = 1_000;

/**
 * What the server told, with what the person has just done laid over it. Fires "change",
 * "new", "transport", and "applied": what a frame says of what the page doesn't hold.
 */
export class Mailbox extends EventTarget {
  operations;
  older;
  #config;
  #store;
  #connection;
  #tabs;
  #closing;
  #follow = new AbortController();
  /** @type {Set<object>} */
  #holders = new Set();
  /** Of the leading tab, while another one leads. @type {Transport | null} */
  #leaders = null;

  /** @type {Map<string, Mailbox>} */
  static #open = new Map();

  /** @param {MailboxConfig} config */
  static at(config) {
    const known = Mailbox.#open.get(nameOf(config));
    if (known !== undefined && !known.transport.isSignedOut) {
      // The newest token: signing in changes it.
      known.#config = config;
      return known;
    }
    const mailbox = new Mailbox(config);
    Mailbox.#open.set(nameOf(config), mailbox);
    return mailbox;
  }

  /** @param {MailboxConfig} config */
  constructor(config) {
    super();
    const { mountUrl, stateUrl, notificationsUrl, socketUrl, user, session, pollInterval, unread } = config;
    /** Whom the page was made for, so that nobody else is answered. @type {Record<string, string>} */
    const headers = user === "" ? {} : { "Themis-For": user };
    const onSignedOut = () => this.#connection.signOut();
    this.#config = config;
    this.#closing = new Alarm(systemClock, () => this.#close());
    this.#store = new Store({ unread });
    const position = () => this.#store.position;
    this.#connection = new Connection({
      stateUrl,
      socketUrl: socketAddress(socketUrl, user),
      headers,
      pollInterval,
      position,
      isHidden: () => document.visibilityState === "hidden",
      memory: tabMemory,
    });
    this.#tabs = new Tabs({
      mount: mountUrl,
      user,
      session,
      clock: systemClock,
      holder: {
        position,
        transport: () => this.transport,
        // Whoever is behind is told; whoever is ahead shows that this page is behind.
        onPing: ({ epoch, revision }) => {
          const { position: own } = this.#store;
          const isAhead = epoch !== null && own.epoch !== null && (epoch !== own.epoch || revision > own.revision);
          if (isAhead) this.#connection.sync({ epoch, revision });
          return epoch === own.epoch && revision >= own.revision ? null : this.#store.toSnapshot();
        },
        onLead: () => {
          this.#leaders = null;
          this.#connection.start();
          this.#transported();
        },
        onFollow: () => this.#connection.stop(),
        onFrame: (frame) => this.#connection.isSignedOut || this.#apply(frame),
        onTransport: (transport) => {
          if (this.#tabs.isLeader || this.#connection.isSignedOut) return;
          this.#leaders = transport;
          this.#transported();
        },
        onWish: (wish) => this.#connection[wish]?.(),
        onSignedOut,
        // A session of the same person is this page's too; after one of another ("") this may be over.
        onNewcomer: (theirs) => {
          if (theirs === "") {
            if (this.#tabs.isLeader) this.#connection.check();
          } else if (this.#connection.isSignedOut) {
            this.#connection.revive();
            this.#tabs.rejoin(theirs);
          }
        },
      },
    });
    this.operations = new Operations({
      url: notificationsUrl,
      headers: () => {
        const { csrfCookie, csrfToken } = this.#config;
        return { ...headers, "X-CSRFToken": readCookie(csrfCookie) ?? csrfToken };
      },
      holder: {
        onAnswer: (frame) => this.#take(frame),
        onSignedOut,
        onOutdated: () => this.refresh(),
        onChange: () => this.#changed(),
      },
    });
    this.older = new Older({ url: notificationsUrl, headers, store: this.#store, onSignedOut });
    this.#connection.addEventListener("frame", (event) => this.#take(/** @type {FrameEvent} */ (event).frame));
    this.#connection.addEventListener("transport", () => this.#transported());
    this.#store.addEventListener("change", () => this.#changed());
    this.#store.addEventListener("new", (event) => {
      const { items } = /** @type {NewItemsEvent} */ (event);
      this.dispatchEvent(Object.assign(new Event("new"), { items }));
    });
    this.#store.addEventListener("expiry", () => {
      // A page that nobody sees asks when it is shown.
      if (document.visibilityState === "visible") this.#wish("expire");
    });
  }

  get items() {
    return this.operations.overlay(this.#store.items, 0).items;
  }

  get unread() {
    return this.operations.overlay(this.#store.items, this.#store.unread).unread;
  }

  get isLoaded() {
    return this.#store.isLoaded;
  }

  get position() {
    return this.#store.position;
  }

  get desktop() {
    return this.#store.desktop;
  }

  get hasOlder() {
    return this.#store.hasOlder;
  }

  get transport() {
    if (this.#leaders !== null && !this.#connection.isSignedOut) return this.#leaders;
    const { state, isStale, isSignedOut, heardAt } = this.#connection;
    return { state, isStale, isSignedOut, heardAt };
  }

  now() {
    return this.#store.now();
  }

  /** @param {object} holder */
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

  /** @param {object} holder */
  isSpokenForBy(holder) {
    const [first] = this.#holders;
    return first === holder;
  }

  /** @param {Verb} verb @param {string[]} ids */
  change(verb, ids) {
    return this.#run(verb, { ids });
  }

  /** @param {number} upTo */
  readUpTo(upTo) {
    return this.#run("read", { upTo, epoch: this.#store.epoch ?? "" });
  }

  /** @param {Operation} operation */
  undo({ verb, at }) {
    return this.#run(verb === "dismiss" ? "restore" : "unread", { at: at ?? "" });
  }

  /** @param {Item} item */
  preview(item) {
    return this.operations.overlay([item], 0).items[0] ?? item;
  }

  refresh() {
    this.#wish("refresh");
  }

  wake() {
    this.#wish("wake");
    this.#tabs.challenge();
  }

  suspend() {
    this.#tabs.stop();
    this.#connection.stop();
  }

  resume() {
    if (!this.#connection.isSignedOut) this.#tabs.start();
  }

  get isLeader() {
    return this.#tabs.isLeader;
  }

  isAnyFocused() {
    return this.#tabs.isAnyFocused();
  }

  /** @param {Verb} verb @param {Selected} selection */
  #run(verb, selection) {
    const operation = new Operation(verb, selection, new Date(this.now()).toISOString());
    return { operation, finished: this.operations.run(operation) };
  }

  /** @param {StateFrame} frame */
  #take(frame) {
    this.#tabs.tellFrame(frame);
    this.#apply(frame);
  }

  /** @param {StateFrame} frame */
  #apply(frame) {
    const outcome = this.#store.apply(frame);
    if (outcome === "applied") this.dispatchEvent(Object.assign(new Event("applied"), { frame }));
    if (outcome !== "gap") return;
    if (this.#tabs.isLeader) this.#connection.sync(frame);
    else this.#tabs.challenge();
  }

  #transported() {
    const { state, isStale, isSignedOut } = this.transport;
    if (isSignedOut) this.#signOut();
    else if (!isStale && (state === "open" || state === "polling")) this.operations.resume();
    this.#tabs.tellTransport();
    this.dispatchEvent(new Event("transport"));
  }

  #signOut() {
    this.#leaders = null;
    this.#tabs.tellSignedOut();
    this.#tabs.resign();
    this.operations.clear();
    this.#store.clear();
  }

  /** @param {Wish} wish */
  #wish(wish) {
    if (this.#tabs.isLeader) this.#connection[wish]();
    else this.#tabs.tellWish(wish);
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }

  #close() {
    this.suspend();
    const name = nameOf(this.#config);
    if (Mailbox.#open.get(name) === this) Mailbox.#open.delete(name);
  }
}

/** @param {MailboxConfig} config */
function nameOf({ stateUrl, user }) {
  return `${stateUrl} ${user}`;
}
