import { LiveRegion, NewsAnnouncer } from "./announcer.js";
import { DesktopNotifier } from "./desktop.js";
import { Device } from "./device.js";
import { ThemisChangeEvent, ThemisNewEvent, ThemisTransportEvent } from "./events.js";
import { Mailbox } from "./mailbox.js";
import { Panel } from "./panel.js";
import { placeAt } from "./placement.js";
import { countLabel } from "./protocol.js";
import { Ticker } from "./relative-time.js";
import { languageOf, part, setText, Texts } from "./template.js";

/** @import { NewItemsEvent } from "./store.js" */

const liveRegion = new LiveRegion();
const ticker = new Ticker();

/** What the bell adds to the server's markup, and takes away again. */
const ADDED = "data-themis-added";

/**
 * The bell. `{% themis_bell %}` renders it around a plain link, which stays the bell
 * without JavaScript; upgraded, a button with a panel takes the link's place.
 *
 * Attributes: `data-state-url`, `data-notifications-url`, `data-list-url`, `data-mount-url`,
 * `data-socket-url` (empty: no socket), `data-poll-interval` (seconds, 0 = never),
 * `data-unread`, `data-user`, `data-csrf-token`. Parts and texts: see `templates/themis/bell.html`.
 *
 * Events, each once per page however many bells it has: "themis:change",
 * "themis:new" and "themis:transport" (see `events.js`).
 */
export class ThemisBellElement extends HTMLElement {
  /** @type {AbortController | null} */
  #lifetime = null;
  /** @type {Surroundings | null} */
  #surroundings = null;
  /** @type {HTMLButtonElement | null} */
  #button = null;
  /** @type {Panel | null} */
  #panel = null;

  /**
   * @param {string} [tag]
   * @param {CustomElementRegistry} [registry]
   */
  static define(tag = "themis-bell", registry = customElements) {
    if (registry.get(tag) === undefined) registry.define(tag, this);
  }

  /** Unread notifications; 10,000 means more than 9,999. */
  get unread() {
    return this.#surroundings?.mailbox.unread ?? Number(this.dataset.unread ?? 0);
  }

  /** The epoch of the mailbox that the page holds; null before the first frame. */
  get epoch() {
    return this.#surroundings?.mailbox.position.epoch ?? null;
  }

  /** The revision of the mailbox that the page holds. */
  get revision() {
    return this.#surroundings?.mailbox.position.revision ?? 0;
  }

  /** How the page hears of changes now. */
  get transport() {
    return this.#surroundings?.mailbox.transport.state ?? "stopped";
  }

  /** What the list on the same page shares with the bell; null while it is in no page. */
  get surroundings() {
    return this.#surroundings;
  }

  connectedCallback() {
    // A page cache copies the markup as it was; begin from what the server rendered.
    for (const added of this.querySelectorAll(`[${ADDED}]`)) added.remove();
    const lifetime = new AbortController();
    this.#lifetime = lifetime;
    const mailbox = Mailbox.at(this.#config());
    this.#surroundings = {
      mailbox,
      templates: this,
      texts: new Texts(this, languageOf(this)),
      mountUrl: this.dataset.mountUrl ?? "",
      ticker,
      say: (text) => liveRegion.say(text),
    };
    liveRegion.prepare();
    if ("popover" in HTMLElement.prototype) this.#addButton(lifetime.signal);
    this.#listen(mailbox, lifetime.signal);
    mailbox.retain(this);
    this.#render();
  }

  disconnectedCallback() {
    this.#lifetime?.abort();
    this.#panel?.closed();
    this.#button?.remove();
    this.#panel?.element.remove();
    this.#button = null;
    this.#panel = null;
    this.querySelector('[data-themis="link"]')?.removeAttribute("hidden");
    this.#surroundings?.mailbox.release(this);
    this.#surroundings = null;
  }

  #config() {
    const { mountUrl = "", stateUrl = "", notificationsUrl = "", socketUrl = "" } = this.dataset;
    const { user = "", session = "", csrfToken = "", csrfCookie = "", pollInterval, unread } = this.dataset;
    return {
      mountUrl,
      stateUrl,
      notificationsUrl,
      socketUrl,
      user,
      session,
      csrfToken,
      csrfCookie,
      pollInterval: Math.max(0, Number(pollInterval) || 0),
      unread: Math.max(0, Number(unread) || 0),
    };
  }

  /** @param {AbortSignal} signal */
  #addButton(signal) {
    const link = part(this, "link");
    const panel = new Panel(this.#shared, signal);
    const button = document.createElement("button");
    button.type = "button";
    button.className = link.className;
    button.append(...link.cloneNode(true).childNodes);
    button.setAttribute("aria-expanded", "false");
    button.setAttribute("aria-controls", panel.element.id);
    button.popoverTargetElement = panel.element;
    button.setAttribute(ADDED, "");
    panel.element.setAttribute(ADDED, "");
    this.#button = button;
    this.#panel = panel;
    link.hidden = true;
    link.after(button, panel.element);

    panel.element.addEventListener("beforetoggle", (event) => this.#toggling(event.newState === "open"), { signal });
    panel.element.addEventListener("toggle", (event) => this.#toggled(event.newState === "open"), { signal });
    this.addEventListener("focusout", (event) => this.#focusLeaves(event), { signal });
    // Coming back from where a notification led must not find the panel open.
    addEventListener("pagehide", () => panel.element.hidePopover(), { signal });
    addEventListener("resize", () => this.#place(), { signal });
    const scrolled = (/** @type {Event} */ { target }) => {
      if (!(target instanceof Node) || !panel.element.contains(target)) this.#place();
    };
    addEventListener("scroll", scrolled, { signal, capture: true, passive: true });
  }

  /**
   * @param {Mailbox} mailbox
   * @param {AbortSignal} signal
   */
  #listen(mailbox, signal) {
    mailbox.addEventListener("change", () => this.#changed(), { signal });
    mailbox.addEventListener("new", (event) => this.#rang(/** @type {NewItemsEvent} */ (event).items), { signal });
    mailbox.addEventListener("transport", () => this.#transported(), { signal });
    new NewsAnnouncer(mailbox, (count) => this.#announce(count), { signal });
    DesktopNotifier.serve(mailbox, {
      device: new Device(this.dataset.user ?? ""),
      texts: this.#shared.texts,
      mountUrl: this.dataset.mountUrl ?? "",
    });
  }

  /** @param {boolean} isOpening */
  #toggling(isOpening) {
    if (isOpening) this.#panel?.render();
    else this.#panel?.closed();
  }

  /** @param {boolean} isOpen */
  #toggled(isOpen) {
    this.#button?.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) return;
    this.#panel?.opened();
    this.#place();
    const mailbox = this.#shared.mailbox;
    // Nothing has been heard yet and nothing may come by itself: asked for by hand.
    if (!mailbox.isLoaded && mailbox.transport.state !== "connecting") mailbox.refresh();
  }

  /** @param {FocusEvent} event */
  #focusLeaves({ relatedTarget }) {
    // To another element of the page, that is; not to another window.
    if (relatedTarget instanceof Node && !this.contains(relatedTarget)) this.#panel?.element.hidePopover();
  }

  #place() {
    if (this.#panel?.isOpen && this.#button !== null) placeAt(this.#panel.element, this.#button);
  }

  #changed() {
    this.#render();
    const { unread, items } = this.#shared.mailbox;
    this.#tell(new ThemisChangeEvent(unread, items));
  }

  /** @param {Item[]} items */
  #rang(items) {
    this.#tell(new ThemisNewEvent(items, this.unread));
    const icon = this.#button?.querySelector("svg");
    if (!icon || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const rotate = ["0deg", "14deg", "-11deg", "7deg", "-4deg", "0deg"];
    icon.animate({ rotate }, { duration: 700, easing: "ease-in-out" });
  }

  #transported() {
    const { state, isStale, isSignedOut } = this.#shared.mailbox.transport;
    this.#render();
    this.#tell(new ThemisTransportEvent(state, isStale, isSignedOut));
  }

  /** @param {Event} event */
  #tell(event) {
    if (this.#shared.mailbox.isSpokenForBy(this)) this.dispatchEvent(event);
  }

  /** @param {number} count */
  #announce(count) {
    if (!this.#shared.mailbox.isSpokenForBy(this)) return;
    const { texts } = this.#shared;
    liveRegion.say(texts.get("announcement", { new: texts.count("new", count), unread: texts.count("unread", this.unread) }));
  }

  #render() {
    const { texts } = this.#shared;
    const { unread } = this;
    const label = countLabel(unread, texts.language);
    const name = unread > 0 ? texts.get("bell-unread", { unread: texts.count("unread", unread) }) : texts.get("bell");
    for (const root of [part(this, "link"), this.#button]) {
      if (root === null) continue;
      setText(part(root, "name"), name);
      setText(part(root, "count"), label);
      part(root, "count").hidden = label === "";
    }
    if (this.#panel?.isOpen) this.#panel.render();
  }

  get #shared() {
    if (this.#surroundings === null) throw new Error("The bell is not in the page.");
    return this.#surroundings;
  }
}
