import { foreignHost } from "./protocol.js";
import { fullTime, relativeTime } from "./relative-time.js";
import { clone, part, setText } from "./template.js";

/** @import { Item } from "./protocol.js" */
/** @import { Texts } from "./template.js" */

const LEVELS = ["info", "success", "warning", "danger"];

/**
 * What rows need to know of the bell they belong to.
 *
 * @typedef {object} RowSurroundings
 * @property {ParentNode} templates
 * @property {Texts} texts
 * @property {string} mountUrl Where `open_url` starts from.
 */

/** One notification in the panel: an `<li>` that follows its item. */
export class Row {
  #surroundings;
  #createdAt = 0;
  #level = "";

  /**
   * @param {Item} item
   * @param {RowSurroundings} surroundings
   */
  constructor(item, surroundings) {
    this.#surroundings = surroundings;
    this.element = clone(surroundings.templates, "row");
    this.element.dataset.id = item.id;
    this.link = /** @type {HTMLAnchorElement} */ (part(this.element, "link"));
    this.readButton = /** @type {HTMLButtonElement} */ (part(this.element, "read"));
    this.time = part(this.element, "time");
    this.update(item);
  }

  /** @param {Item} item */
  update(item) {
    const { texts, mountUrl } = this.#surroundings;
    const isUnread = item.read_at === null;
    this.element.toggleAttribute("data-unread", isUnread);
    part(this.element, "unread").hidden = !isUnread;
    if (!isUnread && this.readButton.contains(document.activeElement)) this.link.focus();
    this.readButton.hidden = !isUnread;

    setText(part(this.element, "title"), item.title);
    setText(part(this.element, "message-text"), item.message);
    part(this.element, "message").hidden = item.message === "";
    this.link.href = openUrl(item, mountUrl);
    const host = foreignHost(item.url, location.origin);
    setText(part(this.element, "host-text"), host);
    part(this.element, "host").hidden = host === "";

    const name = texts.get("mark-read", { title: item.title });
    this.readButton.setAttribute("aria-label", name);
    this.#setLevel(LEVELS.includes(item.level) ? item.level : "info");
    this.#setCreated(item.created_at);
  }

  /**
   * @param {number} now The server's time.
   * @returns {number} How long what it writes stays true.
   */
  updateTime(now) {
    const { text, wait } = relativeTime(this.#createdAt, now, this.#surroundings.texts.language);
    setText(this.time, text);
    return wait;
  }

  /** @param {string} level */
  #setLevel(level) {
    if (level === this.#level) return;
    this.#level = level;
    this.element.dataset.level = level;
    const { templates, texts } = this.#surroundings;
    part(this.element, "icon").replaceChildren(clone(templates, `icon-${level}`));
    setText(part(this.element, "level"), texts.get(`level-${level}`));
  }

  /** @param {string} createdAt */
  #setCreated(createdAt) {
    const time = Date.parse(createdAt);
    if (time === this.#createdAt) return;
    this.#createdAt = time;
    this.time.setAttribute("datetime", createdAt);
    this.time.title = fullTime(time, this.#surroundings.texts.language);
  }
}

/**
 * The address that marks read and redirects. Only ever one of this site's own.
 *
 * @param {Item} item
 * @param {string} mountUrl
 */
export function openUrl(item, mountUrl) {
  const mount = new URL(mountUrl, location.href);
  const url = URL.canParse(item.open_url, mount) ? new URL(item.open_url, mount) : mount;
  return url.origin === mount.origin ? url.href : mount.href;
}
