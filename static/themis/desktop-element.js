import { Device } from "./device.js";
import { languageOf, part, setShown, setTexts, Texts } from "./template.js";

const ACCOUNT = "browser_notifications_enabled";

const TIMEOUT = 15_000;

export class DesktopElement extends HTMLElement {
  #lifetime = new AbortController();
  #device = new Device("");
  #hasFailed = false;

  static define(tag = "themis-desktop") {
    if (!customElements.get(tag)) customElements.define(tag, this);
  }

  connectedCallback() {
    this.#lifetime = new AbortController();
    const { signal } = this.#lifetime;
    this.#device = new Device(this.dataset.user ?? "");
    const hide = /** @type {HTMLInputElement} */ (part(this, "hide-content"));
    const update = () => this.#update();
    part(this, "turn").addEventListener("click", () => void this.#turn(), { signal });
    part(this, "example").addEventListener("click", () => this.#showExample(), { signal });
    hide.addEventListener("change", () => (this.#device.hidesContent = hide.checked), { signal });
    this.#account?.addEventListener("change", update, { signal });
    // The person may have been in the browser's settings, or in another tab.
    document.addEventListener("visibilitychange", update, { signal });
    addEventListener("storage", update, { signal });
    void followPermission(update, signal);
    update();
    hide.checked = this.#device.hidesContent;
    this.hidden = false;
  }

  disconnectedCallback() {
    this.#lifetime.abort();
  }

  get #texts() {
    return new Texts(this, languageOf(this));
  }

  /** @returns {HTMLInputElement | null} */
  get #account() {
    return this.closest("form")?.querySelector(`[name="${ACCOUNT}"]`) ?? null;
  }

  get #state() {
    const { state } = this.#device;
    return state === "on" && this.#account?.checked === false ? "account" : state;
  }

  async #turn() {
    this.#hasFailed = false;
    if (this.#state === "on") this.#device.isOn = false;
    else if ((await Notification.requestPermission()) === "granted") await this.#turnOn();
    this.#update();
  }

  async #turnOn() {
    this.#hasFailed = !(await this.#tellAccount());
    if (this.#hasFailed) return;
    if (this.#account !== null) this.#account.checked = true;
    this.#device.isOn = true;
    if (this.#device.isOn) this.#showExample();
    else this.#hasFailed = true;
  }

  /** The device shows none that the account doesn't want. */
  async #tellAccount() {
    const { user = "", preferencesUrl = "", csrfToken = "" } = this.dataset;
    try {
      const response = await fetch(preferencesUrl, {
        method: "PATCH",
        headers: {
          Accept: "application/json",
          "Content-Type": "application/json",
          "Themis-For": user,
          "X-CSRFToken": csrfToken,
        },
        body: JSON.stringify({ [ACCOUNT]: true }),
        signal: AbortSignal.timeout(TIMEOUT),
      });
      return response.ok;
    } catch {
      return false;
    }
  }

  /** That one is seen is the proof: the system has settings of its own. */
  #showExample() {
    const texts = this.#texts;
    if (this.#device.show(texts.get("on"), { lang: texts.language ?? "" }) === null) this.#device.isOn = false;
    this.#update();
  }

  #update() {
    const focused = document.activeElement;
    const state = this.#state;
    const texts = this.#texts;
    const status = part(this, "status");
    const isOn = state === "on";
    setTexts(this, {
      status: texts.get(this.#hasFailed ? "failed" : state),
      turn: texts.get(isOn ? "turn-off" : "turn-on"),
    });
    setShown(this, { turn: !["insecure", "unsupported", "denied"].includes(state), "when-on": isOn, example: isOn });
    this.dataset.state = state;
    if (this.contains(focused) && focused?.closest("[hidden]")) status.focus();
  }
}

/** @param {() => void} update @param {AbortSignal} signal */
async function followPermission(update, signal) {
  try {
    const status = await navigator.permissions.query({ name: "notifications" });
    status.addEventListener("change", update, { signal });
  } catch {
    // A browser that doesn't tell: it is looked at when the page is.
  }
}
