import { countText } from "./protocol.js";

/** @param {ParentNode} root @param {string} name */
export function part(root, name) {
  /** @type {HTMLElement | null} */
  const element = root.querySelector(`[data-themis="${name}"]`);
  if (element === null) throw new Error(`The bell's template lacks the part data-themis="${name}".`);
  return element;
}

/** @param {ParentNode} root @param {string} name */
export function clone(root, name) {
  const { content } = /** @type {HTMLTemplateElement} */ (part(root, name));
  return document.importNode(/** @type {HTMLElement} */ (content.firstElementChild), true);
}

/**
 * Write only what differs: an equal write would still wake observers.
 *
 * @param {ParentNode} root @param {Record<string, string>} texts
 */
export function setTexts(root, texts) {
  for (const [name, text] of Object.entries(texts)) {
    const element = part(root, name);
    if (element.textContent !== text) element.textContent = text;
  }
}

/** @param {ParentNode} root @param {Record<string, boolean>} parts */
export function setShown(root, parts) {
  for (const [name, isShown] of Object.entries(parts)) part(root, name).hidden = !isShown;
}

/** @param {Element} element */
export function languageOf(element) {
  try {
    return Intl.getCanonicalLocales(element.closest("[lang]")?.getAttribute("lang") ?? "")[0];
  } catch {
    return undefined;
  }
}

/** A text with a count is there once per sample: the one of the same plural category is taken, the last one else. */
export class Texts {
  #plural;
  /** @type {Map<string, string>} */
  #byName = new Map();

  /** @param {ParentNode} root @param {string} [language] */
  constructor(root, language) {
    this.language = language;
    this.#plural = new Intl.PluralRules(language);
    const { content } = /** @type {HTMLTemplateElement} */ (part(root, "texts"));
    for (const element of content.querySelectorAll("[data-text]")) {
      const { text = "", sample } = /** @type {HTMLElement} */ (element).dataset;
      const words = element.textContent.trim();
      this.#byName.set(text, words);
      if (sample !== undefined) this.#byName.set(`${text} ${this.#plural.select(Number(sample))}`, words);
    }
  }

  /** @param {string} name @param {Record<string, string>} [values] */
  get(name, values = {}) {
    const text = this.#byName.get(name) ?? "";
    return text.replace(/\{(\w+)\}/g, (placeholder, key) => values[key] ?? placeholder);
  }

  /** @param {string} name @param {number} count */
  count(name, count) {
    const form = `${name} ${this.#plural.select(count)}`;
    return this.get(this.#byName.has(form) ? form : name, { count: countText(count, this.language) });
  }
}
