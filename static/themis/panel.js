import { NotificationList } from "./list.js";
import { placeAt } from "./placement.js";
import { newestFirst } from "./protocol.js";
import { relativeTime, Ticker } from "./relative-time.js";
import { clone, part, setShown, setTexts } from "./template.js";

let panels = 0;

export class Panel {
  #surroundings;
  #button;
  #list;
  #content;
  #readAll;
  /** How many of the newest are not inserted, because that would move rows that somebody is at. */
  #held = 0;
  #isLoading = false;
  #tick = () => this.render();

  /** @param {Surroundings} surroundings @param {HTMLButtonElement} button @param {AbortSignal} signal */
  constructor(surroundings, button, signal) {
    this.#surroundings = surroundings;
    this.#button = button;
    const element = clone(surroundings.templates, "panel");
    this.element = element;
    element.id = `themis-panel-${++panels}`;
    const heading = part(element, "heading");
    heading.id = `${element.id}-heading`;
    element.setAttribute("aria-labelledby", heading.id);
    button.setAttribute("aria-controls", element.id);
    button.popoverTargetElement = element;
    button.after(element);
    this.#content = part(element, "content");
    this.#readAll = part(element, "read-all");
    this.#list = new NotificationList(element, surroundings, signal);

    const on = (/** @type {string} */ name, /** @type {() => unknown} */ act) =>
      part(element, name).addEventListener("click", act, { signal });
    on("read-all", () => this.#markAllRead());
    on("refresh", () => surroundings.mailbox.refresh());
    on("pill", () => this.#showHeld());
    on("more", () => this.#loadOlder());
    // No row goes at the end while somebody may be at it.
    const widen = () => surroundings.mailbox.older.widen(true);
    for (const type of ["pointerover", "focusin", "scroll"]) this.#content.addEventListener(type, widen, { signal });
    // Not at once: it may be this very panel that is taking a row away.
    element.addEventListener("focusout", () => queueMicrotask(() => Ticker.ofPage.tick()), { signal });
    element.addEventListener("beforetoggle", ({ newState }) => this.#toggling(newState === "open"), { signal });
    element.addEventListener("toggle", ({ newState }) => this.#toggled(newState === "open"), { signal });
    // Coming back from where a notification led must not find it open.
    addEventListener("pagehide", () => element.hidePopover(), { signal });
    addEventListener("resize", () => this.#place(), { signal });
    const scrolled = (/** @type {Event} */ { target }) => {
      if (!(target instanceof Node && element.contains(target))) this.#place();
    };
    addEventListener("scroll", scrolled, { signal, capture: true, passive: true });
    signal.addEventListener("abort", () => this.#toggling(false));
  }

  get isOpen() {
    return this.element.matches(":popover-open");
  }

  render() {
    const { mailbox, texts } = this.#surroundings;
    const { items, isLoaded, unread, hasOlder, transport } = mailbox;
    const { isStale, isSignedOut, heardAt } = transport;
    const isWaiting = !isLoaded && !isStale && !isSignedOut;
    if (isSignedOut) this.#list.forget();
    const wait = this.#list.sweep();
    this.#hold(items);
    this.#list.show(items.slice(this.#held));
    const shown = this.#list.items;
    setShown(this.element, {
      pill: this.#held > 0,
      empty: isLoaded && shown.length === 0,
      loading: isWaiting,
      stale: isStale,
      "signed-out": isSignedOut,
      more: hasOlder && shown.length > 0,
    });
    const heard = heardAt === null ? null : relativeTime(heardAt, Date.now(), texts.language);
    const stale = heard === null ? texts.get("stale") : texts.get("stale-since", { time: heard.text });
    setTexts(this.element, { "stale-text": stale, pill: texts.count("pill", this.#held) });
    this.#content.setAttribute("aria-busy", String(isWaiting || this.#isLoading));
    // Not `disabled`: that would throw the focus of who has just pressed it.
    this.#readAll.setAttribute("aria-disabled", String(unread === 0 || shown.length === 0));
    return Math.min(wait, heard?.wait ?? Infinity, this.#list.updateTimes(mailbox.now()));
  }

  /** @param {boolean} isOpening */
  #toggling(isOpening) {
    if (isOpening) return this.render();
    Ticker.ofPage.delete(this.#tick);
    this.#surroundings.mailbox.older.widen(false);
    this.#held = 0;
    return this.#list.forget();
  }

  /** @param {boolean} isOpen */
  #toggled(isOpen) {
    this.#button.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) return;
    Ticker.ofPage.add(this.#tick);
    this.#place();
    const { mailbox } = this.#surroundings;
    // Nothing has been heard yet and nothing may come by itself: asked for by hand.
    if (!mailbox.isLoaded && mailbox.transport.state !== "connecting") mailbox.refresh();
  }

  #place() {
    if (this.isOpen) placeAt(this.element, this.#button);
  }

  /** @param {Item[]} items */
  #hold(items) {
    const [newest] = this.#list.items;
    const fresh = newest === undefined ? 0 : items.filter((item) => newestFirst(item, newest) < 0).length;
    const isInUse = this.isOpen && (this.#content.scrollTop > 0 || this.#list.isInUse);
    this.#held = this.#held > 0 || isInUse ? fresh : 0;
  }

  #showHeld() {
    this.#held = 0;
    this.#content.scrollTo({ top: 0, behavior: "instant" });
    this.render();
    this.#list.focus(0);
  }

  #markAllRead() {
    if (this.#readAll.getAttribute("aria-disabled") === "true") return;
    this.#list.readAll(Math.max(...this.#list.items.map((item) => item.created_revision)));
  }

  async #loadOlder() {
    if (this.#isLoading) return;
    const { mailbox, texts, say } = this.#surroundings;
    const place = this.#list.items.length;
    this.#isLoading = true;
    mailbox.older.widen(true);
    this.render();
    const added = await mailbox.older.load();
    this.#isLoading = false;
    this.render();
    if (added === null) return this.#list.fail(() => void this.#loadOlder());
    this.#list.focus(place);
    say(texts.count("loaded", added));
  }
}
