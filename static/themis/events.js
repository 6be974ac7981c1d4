/*
 * What a host can listen to: `document.addEventListener("themis:new", …)` hears each once,
 * however many bells the page has.
 */

/** The count or the notifications shown have changed. */
export class ThemisChangeEvent extends Event {
  /** @param {number} unread @param {Item[]} items The newest, newest first. */
  constructor(unread, items) {
    super("themis:change", { bubbles: true });
    this.unread = unread;
    this.items = items;
  }
}

/** Notifications arrived that this page had not seen before. */
export class ThemisNewEvent extends Event {
  /** @param {Item[]} items Newest first. @param {number} unread */
  constructor(items, unread) {
    super("themis:new", { bubbles: true });
    this.items = items;
    this.unread = unread;
  }
}

/** The way to the server has changed. */
export class ThemisTransportEvent extends Event {
  /** @param {Transport} transport */
  constructor({ state, isStale, isSignedOut }) {
    super("themis:transport", { bubbles: true });
    this.state = state;
    this.isStale = isStale;
    this.isSignedOut = isSignedOut;
  }
}
