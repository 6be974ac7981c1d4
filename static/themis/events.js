export class ThemisChangeEvent extends Event {
  /** @param {number} unread @param {Item[]} items */
  constructor(unread, items) {
    super("themis:change", { bubbles: true });
    this.unread = unread;
    this.items = items;
  }
}

export class ThemisNewEvent extends Event {
  /** @param {Item[]} items @param {number} unread */
  constructor(items, unread) {
    super("themis:new", { bubbles: true });
    this.items = items;
    this.unread = unread;
  }
}

export class ThemisTransportEvent extends Event {
  /** @param {Transport} transport */
  constructor({ state, isStale, isSignedOut }) {
    super("themis:transport", { bubbles: true });
    this.state = state;
    this.isStale = isStale;
    this.isSignedOut = isSignedOut;
  }
}
