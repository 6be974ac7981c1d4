/**
 * What a host can listen to. The events bubble from one bell of the page, so that
 * `document.addEventListener("themis:new", …)` hears each of them once.
 */

/** "themis:change": the count or the notifications shown have changed. */
export class ThemisChangeEvent extends Event {
  /**
   * @param {number} unread
   * @param {Item[]} items The newest, newest first.
   */
  constructor(unread, items) {
    super("themis:change", { bubbles: true });
    this.unread = unread;
    this.items = items;
  }
}

/** "themis:new": notifications arrived that this page had not seen before. */
export class ThemisNewEvent extends Event {
  /**
   * @param {Item[]} items Newest first.
   * @param {number} unread
   */
  constructor(items, unread) {
    super("themis:new", { bubbles: true });
    this.items = items;
    this.unread = unread;
  }
}

/** "themis:transport": the way to the server has changed. */
export class ThemisTransportEvent extends Event {
  /**
   * @param {TransportState} state "connecting", "open", "backoff", "polling", "stopped"
   * @param {boolean} isStale Out of touch for longer than a moment.
   * @param {boolean} isSignedOut
   */
  constructor(state, isStale, isSignedOut) {
    super("themis:transport", { bubbles: true });
    this.state = state;
    this.isStale = isStale;
    this.isSignedOut = isSignedOut;
  }
}
