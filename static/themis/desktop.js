import { Alarm, systemClock } from "./clock.js";
import { Device } from "./device.js";
import { openUrl } from "./links.js";
import { newestFirst } from "./protocol.js";
import { WINDOW } from "./store.js";

const GATHER = 400;

const MOST = 3;

/** Takes away what has been read, wherever that was, and all with the page, which alone can do that. */
export class DesktopNotifier {
  #mailbox;
  #device;
  #texts;
  #mountUrl;
  #gather;
  /** @type {Item[]} */
  #arrived = [];
  /** @type {Map<Notification, Item[]>} */
  #shown = new Map();

  /** @type {WeakSet<DesktopMailbox>} */
  static #served = new WeakSet();

  /** @param {DesktopMailbox} mailbox @param {DesktopOptions} options */
  static serve(mailbox, options) {
    if (!this.#served.has(mailbox)) new this(mailbox, options);
    this.#served.add(mailbox);
  }

  /** @param {DesktopMailbox} mailbox @param {DesktopOptions} options */
  constructor(mailbox, { user = "", device = new Device(user), texts, mountUrl, missed = [], clock = systemClock }) {
    this.#mailbox = mailbox;
    this.#device = device;
    this.#texts = texts;
    this.#mountUrl = mountUrl;
    this.#gather = new Alarm(clock, () => void this.#tell());
    mailbox.addEventListener("new", (event) => this.#take(/** @type {NewItemsEvent} */ (event).items));
    mailbox.addEventListener("change", () => this.#closeAll((items) => !items.some((item) => this.#isNews(item))));
    addEventListener("pagehide", () => this.#closeAll(() => true));
    if (missed.length > 0) this.#take(missed);
  }

  /** @param {Item[]} items */
  #take(items) {
    this.#arrived.push(...items);
    if (!this.#gather.isSet) this.#gather.set(GATHER);
  }

  async #tell() {
    const arrived = this.#arrived;
    this.#arrived = [];
    if (!this.#isWanted || (await this.#mailbox.isAnyFocused())) return;
    const news = arrived.filter((item) => this.#isNews(item)).sort(newestFirst);
    if (news.length > MOST) this.#showNumber([...news, ...this.#takeSummarized()]);
    else for (const item of news.reverse()) this.#showOne(item);
  }

  get #isWanted() {
    return this.#mailbox.isLeader && this.#mailbox.desktop && this.#device.state === "on";
  }

  /** @param {Item} item */
  #isNews(item) {
    const { items, unread } = this.#mailbox;
    const held = items.find(({ id }) => id === item.id);
    if (held !== undefined) return held.read_at === null;
    // Gone, unless newer ones have pushed it out; then only the count tells of it.
    const oldest = items.length < WINDOW ? undefined : items.at(-1);
    return item.read_at === null && unread > 0 && oldest !== undefined && newestFirst(item, oldest) > 0;
  }

  /** What summaries tell of, to be told by a new one in their place. */
  #takeSummarized() {
    const summarized = [...this.#shown.values()].filter((items) => items.length > 1).flat();
    this.#closeAll((items) => items.length > 1);
    return summarized.filter((item) => this.#isNews(item));
  }

  /** @param {Item} item */
  #showOne(item) {
    const { title, message } = item;
    const hidden = this.#texts.get("new-notification");
    const [shown, body] = this.#device.hidesContent ? [hidden, ""] : [title, message];
    this.#show([item], shown, body, openUrl(item, this.#mountUrl));
  }

  /** @param {Item[]} items */
  #showNumber(items) {
    const title = this.#texts.count("new", items.length);
    this.#show(items, title, "", new URL(this.#mountUrl, location.href).href);
  }

  /** @param {Item[]} items @param {string} title @param {string} body @param {string} url */
  #show(items, title, body, url) {
    // Of two pages that don't know of each other the second replaces what the first shows.
    const tag = `themis:${this.#device.user}:${items[0]?.id}`;
    const notification = this.#device.show(title, { body, tag, lang: this.#texts.language ?? "" });
    if (notification === null) return;
    this.#shown.set(notification, items);
    notification.onclose = () => this.#shown.delete(notification);
    notification.onclick = (event) => {
      event.preventDefault();
      notification.close();
      window.focus();
      location.assign(url);
    };
  }

  /** @param {(items: Item[]) => boolean} isOver */
  #closeAll(isOver) {
    for (const [notification, items] of this.#shown) {
      if (!isOver(items)) continue;
      this.#shown.delete(notification);
      notification.close();
    }
  }
}
