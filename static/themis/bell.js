import { LiveRegion, NewsAnnouncer } from "./announcer.js";
import { ThemisChangeEvent, ThemisNewEvent, ThemisTransportEvent } from "./events.js";
import { Mailbox } from "./mailbox.js";
import { countLabel } from "./protocol.js";
import { languageOf, part, setShown, setTexts, Texts } from "./template.js";

const liveRegion = new LiveRegion();

const CONFIG = {
  mountUrl: "",
  stateUrl: "",
  notificationsUrl: "",
  socketUrl: "",
  user: "",
  session: "",
  csrfToken: "",
  csrfCookie: "",
};

export class ThemisBellElement extends HTMLElement {
  /** @type {Surroundings | null} */
  surroundings = null;
  #lifetime = new AbortController();
  /** @type {HTMLButtonElement | null} */
  #button = null;
  /** @type {Panel | null} */
  #panel = null;
  #isServed = false;

  static define(tag = "themis-bell") {
    if (!customElements.get(tag)) customElements.define(tag, this);
  }

  get unread() {
    return this.surroundings?.mailbox.unread ?? this.#number("unread");
  }

  get epoch() {
    return this.surroundings?.mailbox.position.epoch ?? null;
  }

  get revision() {
    return this.surroundings?.mailbox.position.revision ?? 0;
  }

  get transport() {
    return this.surroundings?.mailbox.transport.state ?? "stopped";
  }

  connectedCallback() {
    // A page cache copies the markup as it was; begin from what the server rendered.
    this.#removeAdded();
    this.#lifetime = new AbortController();
    const { signal } = this.#lifetime;
    const config = { ...CONFIG, ...this.dataset, pollInterval: this.#number("pollInterval"), unread: this.#number("unread") };
    const mailbox = Mailbox.at(config);
    this.surroundings = {
      mailbox,
      templates: this,
      texts: new Texts(this, languageOf(this)),
      mountUrl: config.mountUrl,
      say: (text) => liveRegion.say(text),
    };
    liveRegion.prepare();
    if ("popover" in HTMLElement.prototype) this.#addButton(signal);
    mailbox.addEventListener("change", () => this.#changed(), { signal });
    mailbox.addEventListener("new", (event) => this.#rang(/** @type {NewItemsEvent} */ (event).items), { signal });
    mailbox.addEventListener("transport", () => this.#transported(), { signal });
    new NewsAnnouncer(mailbox, (count) => this.#announce(count), { signal });
    mailbox.retain(this);
    this.#render();
  }

  disconnectedCallback() {
    this.#lifetime.abort();
    this.#removeAdded();
    this.#button = null;
    this.#panel = null;
    this.#isServed = false;
    this.querySelector('[data-themis="link"]')?.removeAttribute("hidden");
    this.surroundings?.mailbox.release(this);
    this.surroundings = null;
  }

  #removeAdded() {
    for (const added of this.querySelectorAll("[data-themis-added]")) added.remove();
  }

  /** @param {string} name */
  #number(name) {
    return Math.max(0, Number(this.dataset[name]) || 0);
  }

  /** @param {AbortSignal} signal */
  #addButton(signal) {
    const link = part(this, "link");
    const button = document.createElement("button");
    button.type = "button";
    button.className = link.className;
    button.append(...link.cloneNode(true).childNodes);
    button.setAttribute("aria-expanded", "false");
    button.dataset.themisAdded = "";
    this.#button = button;
    link.hidden = true;
    link.after(button);
    const prepare = () => void this.#makePanel(button, signal).catch(() => {});
    button.addEventListener("pointerenter", prepare, { signal });
    button.addEventListener("focus", prepare, { signal });
    button.addEventListener("click", (event) => this.#press(event, signal), { signal });
    this.addEventListener("focusout", (event) => this.#focusLeaves(event), { signal });
  }

  /** Who is about to open the panel loads it. @param {HTMLButtonElement} button @param {AbortSignal} signal */
  async #makePanel(button, signal) {
    const { Panel } = await import("./panel.js");
    if (this.#panel === null && !signal.aborted) {
      this.#panel = new Panel(this.#shared, button, signal);
      this.#panel.element.dataset.themisAdded = "";
    }
    return this.#panel;
  }

  /** Once there is a panel, the browser opens and closes it. @param {MouseEvent} event @param {AbortSignal} signal */
  async #press(event, signal) {
    if (this.#panel !== null || this.#button === null) return;
    event.preventDefault();
    try {
      const panel = await this.#makePanel(this.#button, signal);
      panel?.element.togglePopover();
    } catch {
      part(this, "link").click();
    }
  }

  /** @param {FocusEvent} event */
  #focusLeaves({ relatedTarget }) {
    // To another element of the page, that is; not to another window.
    if (relatedTarget instanceof Node && !this.contains(relatedTarget)) this.#panel?.element.hidePopover();
  }

  #changed() {
    const { mailbox } = this.#shared;
    this.#render();
    this.#tell(new ThemisChangeEvent(mailbox.unread, mailbox.items));
    if (mailbox.desktop && !this.#isServed) void this.#serveDesktop();
  }

  async #serveDesktop() {
    this.#isServed = true;
    const { mailbox, texts, mountUrl } = this.#shared;
    const { user = "" } = this.dataset;
    /** What rings before it has come. @type {Item[]} */
    const missed = [];
    const miss = (/** @type {any} */ { items }) => missed.push(...items);
    mailbox.addEventListener("new", miss);
    const { DesktopNotifier } = await import("./desktop.js");
    mailbox.removeEventListener("new", miss);
    DesktopNotifier.serve(mailbox, { user, texts, mountUrl, missed });
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
    this.#render();
    this.#tell(new ThemisTransportEvent(this.#shared.mailbox.transport));
  }

  /** @param {Event} event */
  #tell(event) {
    if (this.#shared.mailbox.isSpokenForBy(this)) this.dispatchEvent(event);
  }

  /** @param {number} count */
  #announce(count) {
    const { mailbox, texts, say } = this.#shared;
    if (!mailbox.isSpokenForBy(this)) return;
    say(texts.get("announcement", { new: texts.count("new", count), unread: texts.count("unread", this.unread) }));
  }

  #render() {
    const { texts } = this.#shared;
    const { unread } = this;
    const label = countLabel(unread, texts.language);
    const name = unread > 0 ? texts.get("bell-unread", { unread: texts.count("unread", unread) }) : texts.get("bell");
    for (const root of [part(this, "link"), this.#button]) {
      if (root === null) continue;
      setTexts(root, { name, count: label });
      setShown(root, { count: label !== "" });
    }
    if (this.#panel?.isOpen) this.#panel.render();
  }

  get #shared() {
    if (this.surroundings === null) throw new Error("The bell is not in the page.");
    return this.surroundings;
  }
}
