import { countText } from "./protocol.js";

/** The element marked `data-themis="<name>"`. @param {ParentNode} root @param {string} name */
export function part(root, name) {
  /** @type {HTMLElement | null} */
  const element = root.querySelector(`[data-themis="${name}"]`);
  if (element === null) throw new Error(`The bell's template lacks the part data-themis="${name}".`);
  return element;
}

/** A copy of the one element in `<template data-themis="<name>">`. @param {ParentNode} root @param {string} name */
export function clone(root, name) {
  const { content } = /** @type {HTMLTemplateElement} */ (part(root, name));
  if (content.firstElementChild === null) throw new Error(`<template data-themis="${name}"> is empty.`);
  return /** @type {HTMLElement} */ (document.importNode(content.firstElementChild, true));
}

/** Write only what differs: an equal write would still wake observers. @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The language of an element, if `Intl` knows it. @param {Element} element */
export function languageOf(element) {
  try {
    return Intl.getCanonicalLocales(element.closest("[lang]")?.getAttribute("lang") ?? "")[0];
  } catch {
    return undefined;
  }
}

/**
 * The texts of `<template data-themis="texts">`: `<span data-text="name">` each. One
 * with a count stands there once per sample, `data-sample="0"`, `"1"`, `"2"`…: the
 * sample of the same plural category as the count is taken, the last one else.
 *
 * Nothing a person reads is written in JavaScript, so all of it is translated by Django.
 */
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

  /** @param {string} name @param {Record<string, string>} [values] For the {placeholders}. */
  get(name, values = {}) {
    const text = this.#byName.get(name) ?? "";
    return text.replace(/\{(\w+)\}/g, (placeholder, key) => values[key] ?? placeholder);
  }

  /** @param {string} name @param {number} count Chooses the plural form, and stands for {count}. */
  count(name, count) {
    const form = `${name} ${this.#plural.select(count)}`;
    return this.get(this.#byName.has(form) ? form : name, { count: countText(count, this.language) });
  }
}
