import { keep, kept } from "./storage.js";

export class Device {
  /** @type {typeof globalThis.Notification | undefined} */
  #Notification;

  /** @param {string} user @param {typeof globalThis.Notification} [Notification] */
  constructor(user, Notification = globalThis.Notification) {
    this.user = user;
    this.#Notification = Notification;
  }

  get state() {
    if (!globalThis.isSecureContext) return "insecure";
    if (this.#Notification === undefined) return "unsupported";
    const { permission } = this.#Notification;
    if (permission === "denied") return "denied";
    if (permission === "default") return this.isOn ? "revoked" : "ask";
    return this.isOn ? "on" : "off";
  }

  get isOn() {
    return this.#has("desktop");
  }

  set isOn(isOn) {
    this.#keep("desktop", isOn);
  }

  get hidesContent() {
    return this.#has("hide-content");
  }

  set hidesContent(isHidden) {
    this.#keep("hide-content", isHidden);
  }

  /** @param {string} title @param {NotificationOptions} options */
  show(title, options) {
    try {
      // The direction is that of the text, which people have written in any language.
      return this.#Notification === undefined ? null : new this.#Notification(title, { dir: "auto", ...options });
    } catch {
      // Chrome on Android leaves it to service workers, and says so only now.
      this.#Notification = undefined;
      return null;
    }
  }

  /** @param {string} flag */
  #has(flag) {
    return kept("localStorage", `themis:${this.user}:${flag}`) !== null;
  }

  /** @param {string} flag @param {boolean} isSet */
  #keep(flag, isSet) {
    keep("localStorage", `themis:${this.user}:${flag}`, isSet ? "1" : null);
  }
}
