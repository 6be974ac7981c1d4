import { foreignHost, openUrl } from "./links.js";
import { Note } from "./note.js";
import { fullTime, relativeTime } from "./relative-time.js";
import { clone, part, setShown, setTexts } from "./template.js";

const LEVELS = ["info", "success", "warning", "danger"];

export class Row {
  #surroundings;
  #link;
  #buttons;
  #note;
  #createdAt = 0;

  /** @param {RowItem} item @param {RowSurroundings} surroundings @param {HTMLElement} [element] */
  constructor(item, surroundings, element = clone(surroundings.templates, "row")) {
    this.#surroundings = surroundings;
    this.element = element;
    this.#link = /** @type {HTMLAnchorElement} */ (part(element, "link"));
    this.#buttons = [...element.querySelectorAll("button")].filter(({ name }) => name === "verb");
    this.#note = new Note(element, () => this.#link.focus());
    this.item = item;
    this.update(item);
  }

  /** @param {RowItem} item */
  update(item) {
    const { element } = this;
    const isDismissed = item.isDismissed === true;
    const isUnread = item.read_at === null && !isDismissed;
    const host = foreignHost(item.url, location.origin);
    this.item = item;
    this.#link.href = openUrl(item, this.#surroundings.mountUrl);
    element.dataset.id = item.id;
    element.toggleAttribute("data-unread", isUnread);
    setTexts(element, { title: item.title, "message-text": item.message, "host-text": host });
    setShown(element, { unread: isUnread, message: item.message !== "", host: host !== "" });
    this.#setLevel(LEVELS.includes(item.level) ? item.level : "info");
    this.#setCreated(item.created_at);
    this.#offer({ read: isUnread, unread: !isUnread && !isDismissed, dismiss: !isDismissed, restore: isDismissed });
  }

  /** @param {string} verb */
  offers(verb) {
    return !this.#isReplaced && this.#buttons.some(({ value, hidden }) => value === verb && !hidden);
  }

  /** @param {object | null} about @param {NoteContent} [content] */
  tell(about, content, isInstead = false) {
    const takesFocus = isInstead && !this.#isReplaced && this.hasFocus;
    this.element.toggleAttribute("data-replaced", isInstead);
    this.#note.set(about, content);
    if (takesFocus) this.focus();
  }

  get hasFocus() {
    return this.element.contains(document.activeElement);
  }

  focus() {
    (this.#isReplaced ? this.#note : this.#link).focus();
  }

  /** @param {number} now */
  updateTime(now) {
    const { text, wait } = relativeTime(this.#createdAt, now, this.#surroundings.texts.language);
    setTexts(this.element, { time: text });
    return wait;
  }

  get #isReplaced() {
    return this.element.hasAttribute("data-replaced");
  }

  /** @param {Record<string, boolean>} offered */
  #offer(offered) {
    const focused = this.#buttons.find((button) => button === document.activeElement);
    for (const button of this.#buttons) {
      const verb = button.value;
      button.hidden = !offered[verb];
      button.setAttribute("aria-label", this.#surroundings.texts.get(`name-${verb}`, { title: this.item.title }));
    }
    if (focused?.hidden) (this.#buttons.find(({ hidden }) => !hidden) ?? this.#link).focus();
  }

  /** @param {string} level */
  #setLevel(level) {
    if (level === this.element.dataset.level) return;
    this.element.dataset.level = level;
    const { templates, texts } = this.#surroundings;
    part(this.element, "icon").replaceChildren(clone(templates, `icon-${level}`));
    setTexts(this.element, { level: texts.get(`level-${level}`) });
  }

  /** @param {string} createdAt */
  #setCreated(createdAt) {
    const created = Date.parse(createdAt);
    if (created === this.#createdAt) return;
    this.#createdAt = created;
    const time = part(this.element, "time");
    time.setAttribute("datetime", createdAt);
    time.title = fullTime(created, this.#surroundings.texts.language);
  }
}

/** @param {HTMLElement} element @returns {RowItem} */
export function readItem(element) {
  const { id = "", level = "", created } = element.dataset;
  const text = (/** @type {string} */ name) => part(element, name).textContent ?? "";
  const host = text("host-text");
  return {
    id,
    title: text("title"),
    message: text("message-text"),
    level,
    url: host && `https://${host}/`,
    open_url: part(element, "link").getAttribute("href") ?? "",
    source: { app: "", model: "", id: "" },
    created_at: part(element, "time").getAttribute("datetime") ?? "",
    read_at: element.hasAttribute("data-unread") ? null : "",
    expires_at: null,
    // Without one yet, it is the newest there is.
    created_revision: created ? Number(created) : Infinity,
    revision: 0,
    isDismissed: element.querySelector('[value="restore"]:not([hidden])') !== null,
  };
}
