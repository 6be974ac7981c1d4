/** @import { ThemisBellElement } from "./bell.js" */

/**
 * A notice on the list page, which the server renders and nothing changes afterwards:
 * shown as soon as a bell of the page knows a later state than the list shows.
 *
 * Attributes: `data-epoch`, `data-revision`: the state that the list was rendered at.
 */
export class ListAgeElement extends HTMLElement {
  /** @type {AbortController | null} */
  #lifetime = null;

  /**
   * @param {string} [tag]
   * @param {CustomElementRegistry} [registry]
   */
  static define(tag = "themis-list-age", registry = customElements) {
    if (registry.get(tag) === undefined) registry.define(tag, this);
  }

  connectedCallback() {
    this.#lifetime = new AbortController();
    const { signal } = this.#lifetime;
    document.addEventListener("themis:change", ({ target }) => this.#compare(target), { signal });
  }

  disconnectedCallback() {
    this.#lifetime?.abort();
  }

  /** @param {EventTarget | null} target */
  #compare(target) {
    const { epoch, revision } = /** @type {ThemisBellElement} */ (target);
    // Nobody is signed in any more: the link would lead away from what can still be read.
    if (epoch === null) return;
    this.hidden = epoch === this.dataset.epoch && revision <= Number(this.dataset.revision);
  }
}
