import { isItem } from "./protocol.js";

const PAGE = 20;

export class Older {
  #url;
  #headers;
  #store;
  #onSignedOut;
  /** Where the next page begins; null = at the newest. @type {string | null} */
  #cursor = null;

  /** @param {OlderOptions} options */
  constructor({ url, headers, store, onSignedOut }) {
    this.#url = url;
    this.#headers = headers;
    this.#store = store;
    this.#onSignedOut = onSignedOut;
  }

  /** @param {boolean} isWide */
  widen(isWide) {
    if (isWide) return this.#store.widen();
    this.#cursor = null;
    this.#store.narrow();
  }

  /** Resolves with how many were added; null = it failed. */
  async load() {
    const from = this.#cursor === null ? { limit: String(2 * PAGE) } : { limit: String(PAGE), before: this.#cursor };
    try {
      const response = await fetch(`${this.#url}?${new URLSearchParams(from)}`, {
        headers: { Accept: "application/json", ...this.#headers },
        cache: "no-store",
      });
      if (response.status === 401) this.#onSignedOut();
      if (!response.ok) return null;
      /** @type {{items: Item[], next: string | null}} */
      const { items, next } = await response.json();
      this.#cursor = next;
      return this.#store.extend(items.filter(isItem), next !== null);
    } catch {
      return null;
    }
  }
}
