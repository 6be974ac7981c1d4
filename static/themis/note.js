import { part, setTexts } from "./template.js";

export class Note {
  #button;
  #leave;
  /** @type {object | null} */
  #about = null;

  /** @param {ParentNode} root @param {() => void} leave Takes the focus when the line goes. */
  constructor(root, leave) {
    this.element = part(root, "note");
    this.element.hidden = true;
    this.#button = part(this.element, "note-button");
    this.#leave = leave;
  }

  /** @param {object | null} about @param {NoteContent} [content] */
  set(about, content) {
    if (about === this.#about) return;
    const hadFocus = this.element.contains(document.activeElement);
    this.#about = about;
    this.element.hidden = about === null;
    if (content !== undefined) {
      this.#button.onclick = () => void content.act();
      setTexts(this.element, { "note-text": content.text, "note-button": content.label });
      this.#button.setAttribute("aria-label", content.name ?? content.label);
    }
    if (hadFocus && about === null) this.#leave();
  }

  focus() {
    this.#button.focus();
  }
}
