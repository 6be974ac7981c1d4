import { countText } from "./protocol.js";

/**
 * Reading what the server rendered: named parts of a template, and texts. Nothing a
 * person reads is written in JavaScript, so all of it is translated by Django.
 */

/**
 * The element marked `data-themis="<name>"`.
 *
 * @param {ParentNode} root
 * @param {string} name
 * @returns {HTMLElement}
 */
export function part(root, name) {
  /** @type {HTMLElement | null} */
  const element = root.querySelector(`[data-themis="${name}"]`);
  if (element === null) throw new Error(`The bell's template lacks the part data-themis="${name}".`);
  return element;
}

/**
 * A fresh copy of what `<template data-themis="<name>">` holds: its first element.
 *
 * @param {ParentNode} root
 * @param {string} name
 * @returns {HTMLElement}
 */
export function clone(root, name) {
  const template = /** @type {HTMLTemplateElement} */ (part(root, name));
  const element = template.content.firstElementChild;
  if (element === null) throw new Error(`<template data-themis="${name}"> is empty.`);
  return /** @type {HTMLElement} */ (document.importNode(element, true));
}

/**
 * Write only what differs: an equal write would still wake observers.
 *
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * The language of an element, if `Intl` knows it.
 *
 * @param {Element} element
 * @returns {string | undefined}
 */
export function languageOf(element) {
  const language = element.closest("[lang]")?.getAttribute("lang") ?? "";
  try {
    return Intl.getCanonicalLocales(language)[0];
  } catch {
    return undefined;
  }
}

/**
 * The texts of `<template data-themis="texts">`: `<span data-text="name">` each. One
 * with a count stands there once per sample, `data-sample="0"`, `"1"`, `"2"`…: the
 * sample of the same plural category as the count is taken, the last one else.
 */
export class Texts {
  #language;
  #plural;
  /** @type {Map<string, string>} */
  #byName = new Map();

  /**
   * @param {ParentNode} root
   * @param {string | undefined} language
   */
  constructor(root, language) {
    this.#language = language;
    this.#plural = new Intl.PluralRules(language);
    const template = /** @type {HTMLTemplateElement} */ (part(root, "texts"));
    for (const element of template.content.querySelectorAll("[data-text]")) {
      const name = element.getAttribute("data-text") ?? "";
      const sample = element.getAttribute("data-sample");
      const text = element.textContent.trim();
      this.#byName.set(name, text);
      if (sample !== null) this.#byName.set(`${name} ${this.#plural.select(Number(sample))}`, text);
    }
  }

  get language() {
    return this.#language;
  }

  /**
   * @param {string} name
   * @param {Record<string, string>} [values] For the {placeholders}.
   */
  get(name, values = {}) {
    return fill(this.#byName.get(name) ?? "", values);
  }

  /**
   * @param {string} name
   * @param {number} count Chooses the plural form, and stands for {count}.
   */
  count(name, count) {
    const text = this.#byName.get(`${name} ${this.#plural.select(count)}`) ?? this.get(name);
    return fill(text, { count: countText(count, this.#language) });
  }
}

/**
 * @param {string} text
 * @param {Record<string, string>} values
 */
function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (placeholder, name) => values[name] ?? placeholder);
}
