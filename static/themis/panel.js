import { relativeTime } from "./relative-time.js";
import { Row } from "./row.js";
import { clone, part, setText } from "./template.js";

/** @import { Item } from "./protocol.js" */
/** @import { RowSurroundings } from "./row.js" */

/**
 * @typedef {object} PanelView What a panel shows.
 * @property {Item[]} items
 * @property {boolean} isLoaded
 * @property {number} unread
 * @property {boolean} isStale
 * @property {boolean} isSignedOut
 *
 * @typedef {object} PanelActions
 * @property {(id: string) => void} read
 * @property {() => void} readAll
 * @property {() => void} refresh
 */

let panels = 0;

/** The dropdown: header, newest notifications, and the states in which there are none. */
export class Panel {
  #surroundings;
  #heading;
  #list;
  #readAll;
  /** @type {Map<string, Row>} */
  #rows = new Map();
  #rendered = 0;

  /**
   * @param {RowSurroundings} surroundings
   * @param {PanelActions} actions
   * @param {AbortSignal} signal
   */
  constructor(surroundings, actions, signal) {
    this.#surroundings = surroundings;
    this.element = clone(surroundings.templates, "panel");
    this.element.id = `themis-panel-${++panels}`;
    this.#heading = part(this.element, "heading");
    this.#heading.id = `${this.element.id}-heading`;
    this.element.setAttribute("aria-labelledby", this.#heading.id);
    this.#list = part(this.element, "list");
    this.#readAll = part(this.element, "read-all");

    this.#readAll.addEventListener(
      "click",
      () => {
        if (this.#readAll.getAttribute("aria-disabled") !== "true") actions.readAll();
      },
      { signal },
    );
    part(this.element, "refresh").addEventListener("click", actions.refresh, { signal });
    this.#list.addEventListener(
      "click",
      (event) => {
        const target = /** @type {Element} */ (event.target);
        const id = target.closest('[data-themis="read"]')?.closest("li")?.dataset.id;
        if (id !== undefined) actions.read(id);
      },
      { signal },
    );
  }

  /** The highest created revision that was shown: what "mark all read" may cover. */
  get rendered() {
    return this.#rendered;
  }

  /** @param {PanelView} view */
  render({ items, isLoaded, unread, isStale, isSignedOut }) {
    this.#reconcile(items);
    this.#list.hidden = items.length === 0;
    part(this.element, "empty").hidden = !isLoaded || items.length > 0 || isSignedOut;
    part(this.element, "loading").hidden = isLoaded || isStale || isSignedOut;
    part(this.element, "content").setAttribute("aria-busy", String(!isLoaded && !isStale && !isSignedOut));
    part(this.element, "stale").hidden = !isStale;
    part(this.element, "signed-out").hidden = !isSignedOut;
    // Not `disabled`: that would throw the focus of who has just pressed it.
    this.#readAll.setAttribute("aria-disabled", String(unread === 0 || this.#rendered === 0));
    if (unread === 0) this.showProblem("");
  }

  /**
   * @param {number} now The server's time.
   * @param {number | null} heardAgo Milliseconds since the server was last heard.
   * @returns {number} How long what it writes stays true.
   */
  updateTimes(now, heardAgo) {
    const { texts } = this.#surroundings;
    const heard = heardAgo === null ? null : relativeTime(now - heardAgo, now, texts.language);
    const text = heard === null ? texts.get("stale") : texts.get("stale-since", { time: heard.text });
    setText(part(this.element, "stale-text"), text);
    const waits = [...this.#rows.values()].map((row) => row.updateTime(now));
    return Math.min(heard?.wait ?? Infinity, ...waits);
  }

  /** @param {string} text What went wrong; empty takes it away. */
  showProblem(text) {
    setText(part(this.element, "problem"), text);
    part(this.element, "problem").hidden = text === "";
  }

  /**
   * Rows never move, because what orders them never changes: they only come and go.
   *
   * @param {Item[]} items
   */
  #reconcile(items) {
    const wanted = new Set(items.map((item) => item.id));
    const focused = this.#removeAllBut(wanted);
    let next = this.#list.firstElementChild;
    for (const item of items) {
      let row = this.#rows.get(item.id);
      if (row === undefined) {
        row = new Row(item, this.#surroundings);
        this.#rows.set(item.id, row);
      } else {
        row.update(item);
      }
      if (row.element === next) next = next.nextElementSibling;
      else this.#list.insertBefore(row.element, next);
    }
    this.#rendered = Math.max(0, ...items.map((item) => item.created_revision));
    if (focused !== null) (this.#nearestLink(focused) ?? this.#heading).focus();
  }

  /**
   * @param {Set<string>} wanted
   * @returns {number | null} The place of the removed row that had the focus.
   */
  #removeAllBut(wanted) {
    let focused = null;
    for (const [id, row] of [...this.#rows]) {
      if (wanted.has(id)) continue;
      if (row.element.contains(document.activeElement)) {
        focused = [...this.#list.children].indexOf(row.element);
      }
      row.element.remove();
      this.#rows.delete(id);
    }
    return focused;
  }

  /** @param {number} place */
  #nearestLink(place) {
    const element = this.#list.children[place] ?? this.#list.lastElementChild;
    return [...this.#rows.values()].find((row) => row.element === element)?.link;
  }
}
