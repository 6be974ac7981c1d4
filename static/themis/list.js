import { keyAction } from "./keys.js";
import { Note } from "./note.js";
import { newestFirst } from "./protocol.js";
import { readItem, Row } from "./row.js";
import { clone, part } from "./template.js";

const UNDO_FOR = 10_000;

/** @type {Record<Verb, Verb>} */
const OPPOSITE = { read: "unread", unread: "read", dismiss: "restore", restore: "dismiss" };

/** Rows never move, because what orders them never changes: they only come and go. */
export class NotificationList {
  #surroundings;
  #element;
  #heading;
  #note;
  /** @type {Map<string, Row>} */
  #rows = new Map();
  /** @type {RowItem[]} */
  #items = [];
  /** @type {Map<string, Moved>} */
  #moved = new Map();
  /** @type {All | null} */
  #all = null;
  /** @type {{retry(): unknown} | null} */
  #problem = null;
  /** @type {() => unknown} */
  #undo = () => {};
  #pending = 0;

  /** @param {HTMLElement} root @param {Surroundings} surroundings @param {AbortSignal} signal */
  constructor(root, surroundings, signal) {
    this.#surroundings = surroundings;
    this.#element = part(root, "list");
    this.#heading = part(root, "heading");
    this.#note = new Note(root, () => this.#heading.focus());
    for (const element of this.#element.querySelectorAll("li")) {
      const item = readItem(element);
      this.#items.push(item);
      this.#rows.set(item.id, new Row(item, surroundings, element));
    }
    this.#element.addEventListener("submit", (event) => this.#submit(event), { signal });
    this.#element.addEventListener("keydown", (event) => this.#press(event), { signal });
  }

  get items() {
    return this.#inOrder.map((row) => row.item);
  }

  get isInUse() {
    return this.#element.matches(":hover, :focus-within");
  }

  get isBusy() {
    return this.#pending > 0;
  }

  /** @param {string} id */
  hasMoved(id) {
    return this.#moved.has(id);
  }

  /** @param {RowItem[]} items What there is; rows dismissed here stay all the same. */
  show(items) {
    this.#items = items;
    const shown = new Map(items.map((item) => [item.id, item]));
    for (const [id, { verb, item, started }] of this.#moved) {
      const state = started?.operation.state;
      const isBack = verb === "dismiss" && Number(shown.get(id)?.revision) > item.revision;
      if (state === "failed" || (state === "done" && isBack)) this.#moved.delete(id);
      else shown.set(id, item);
    }
    const left = this.#removeAllBut(shown);
    let next = this.#element.firstElementChild;
    for (const item of [...shown.values()].sort(newestFirst)) {
      const row = this.#rows.get(item.id) ?? new Row(item, this.#surroundings);
      this.#rows.set(item.id, row);
      if (row.item !== item) row.update(item);
      this.#annotate(row);
      if (row.element === next) next = next.nextElementSibling;
      else this.#element.insertBefore(row.element, next);
    }
    this.#element.hidden = shown.size === 0;
    this.#tell();
    if (left !== null) this.focus(left);
  }

  /** @param {number} place */
  focus(place) {
    const rows = this.#inOrder;
    (rows[place] ?? rows.at(-1) ?? this.#heading).focus();
  }

  focusNote() {
    this.#note.focus();
  }

  /** @param {number} now */
  updateTimes(now) {
    return Math.min(Infinity, ...this.#inOrder.map((row) => row.updateTime(now)));
  }

  sweep() {
    let wait = Infinity;
    for (const [id, { at, isUndone }] of this.#moved) {
      const left = at + UNDO_FOR - Date.now();
      if (isUndone || this.#rows.get(id)?.hasFocus) continue;
      if (left <= 0) this.#moved.delete(id);
      else wait = Math.min(wait, left);
    }
    return wait;
  }

  forget() {
    this.#all = null;
    this.#problem = null;
    this.#moved.clear();
  }

  /** @param {number} upTo @param {Settle} [settle] */
  readAll(upTo, settle) {
    const undo = async () => {
      if (this.#all !== all) return;
      this.#all = null;
      this.#tell();
      if (await this.#revert(all)) settle?.(null);
    };
    const all = { ...this.#surroundings.mailbox.readUpTo(upTo), undo, settle };
    this.#all = all;
    this.#problem = null;
    this.#undo = undo;
    this.#tell();
    void this.#settle(all);
  }

  /** @param {() => unknown} retry */
  fail(retry) {
    this.#problem = { retry };
    this.#tell();
    void this.#report(Promise.resolve(false));
  }

  get #inOrder() {
    return [...this.#element.children].flatMap((element) => this.#rowOf(element) ?? []);
  }

  /** @param {SubmitEvent} event */
  #submit(event) {
    const row = this.#rowOf(event.target);
    // Signed out, the server shows where to sign in.
    if (row === undefined || this.#surroundings.mailbox.transport.isSignedOut) return;
    event.preventDefault();
    const { value } = /** @type {HTMLButtonElement} */ (event.submitter);
    void this.#act(row, /** @type {Verb} */ (value));
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    const action = keyAction(event);
    const row = this.#rowOf(event.target);
    if (action === undefined || row === undefined) return;
    event.preventDefault();
    const rows = this.#inOrder;
    if (action === "next") rows[rows.indexOf(row) + 1]?.focus();
    else if (action === "previous") rows[rows.indexOf(row) - 1]?.focus();
    else if (action === "undo") this.#undoLast();
    else if (action === "help") this.#help(row);
    else if (row.offers(action)) void this.#act(row, action);
  }

  #undoLast() {
    const undo = this.#undo;
    this.#undo = () => {};
    undo();
  }

  /** @param {Row} row */
  #help(row) {
    const help = clone(this.#surroundings.templates, "help");
    // The browser gives the focus back by itself, but not where one popover is in another.
    help.addEventListener("beforetoggle", ({ newState }) => newState === "closed" && row.focus());
    help.addEventListener("toggle", ({ newState }) => newState === "closed" && help.remove());
    this.#element.after(help);
    help.showPopover();
  }

  /** @param {Row} row @param {Verb} verb @param {Operation} [failed] */
  async #act({ item }, verb, failed) {
    const { mailbox, texts } = this.#surroundings;
    /** @type {Moved} */
    const moved = { verb, item, at: Date.now(), started: null, isUndone: false };
    const isMoved = verb === "dismiss" || verb === "restore";
    if (isMoved) this.#moved.set(item.id, moved);
    const again = failed && { operation: failed, finished: mailbox.operations.run(failed) };
    const started = again ?? mailbox.change(verb, [item.id]);
    moved.started = started;
    this.#problem = null;
    this.#undo = () => (isMoved ? this.#takeBack(moved) : this.#revert(started));
    await this.#report(started.finished, isMoved ? texts.get(verb) : undefined);
  }

  /** @param {All} all */
  async #settle(all) {
    if (await this.#report(all.finished)) all.settle?.(all.operation.at);
  }

  /** @param {Moved} moved */
  async #takeBack(moved) {
    if (moved.isUndone || moved.started === null) return;
    moved.isUndone = true;
    this.show(this.#items);
    if (await this.#revert(moved.started)) this.#moved.delete(moved.item.id);
    else moved.isUndone = false;
    this.show(this.#items);
  }

  /** @param {Started} started */
  async #revert({ operation, finished }) {
    const { mailbox } = this.#surroundings;
    if (!(await finished)) return false;
    const { verb, selection, at } = operation;
    if (at !== null) return this.#report(mailbox.undo(operation).finished);
    // Nothing had changed, or the way back has no time to go by.
    return "ids" in selection ? this.#report(mailbox.change(OPPOSITE[verb], selection.ids).finished) : true;
  }

  /** @param {Promise<boolean>} finished @param {string} [text] */
  async #report(finished, text) {
    const { mailbox, texts, say } = this.#surroundings;
    this.#pending += 1;
    const isDone = await finished;
    this.#pending -= 1;
    if (!mailbox.transport.isSignedOut) say(isDone ? (text ?? texts.count("unread", mailbox.unread)) : texts.get("failed"));
    return isDone;
  }

  /** @param {Row} row */
  #annotate(row) {
    const { mailbox, texts } = this.#surroundings;
    const { id, title } = row.item;
    const moved = this.#moved.get(id);
    const failed = mailbox.operations.failureOf(id);
    const words = (/** @type {string} */ said, /** @type {string} */ offered) => ({
      text: texts.get(said),
      label: texts.get(offered),
      name: texts.get(`${offered}-of`, { title }),
    });
    if (moved !== undefined && !moved.isUndone) {
      row.tell(moved, { ...words(moved.verb, "undo"), act: () => this.#takeBack(moved) }, true);
    } else if (failed !== undefined) {
      row.tell(failed, { ...words("failed", "retry"), act: () => this.#act(row, failed.verb, failed) });
    } else {
      row.tell(null);
    }
  }

  #tell() {
    const { mailbox, texts } = this.#surroundings;
    const { failure } = mailbox.operations;
    const all = this.#all;
    const problem = failure ?? this.#problem;
    this.#note.element.toggleAttribute("data-problem", problem !== null);
    if (problem !== null) {
      const act = () => (failure === undefined ? this.#retryOther() : this.#retry(failure));
      this.#note.set(problem, { text: texts.get("failed"), label: texts.get("retry"), act });
    } else if (all !== null && all.operation.state !== "failed") {
      this.#note.set(all, { text: texts.get("read-all"), label: texts.get("undo"), act: all.undo });
    } else {
      this.#note.set(null);
    }
  }

  #retryOther() {
    const retry = this.#problem?.retry;
    this.#problem = null;
    this.#tell();
    retry?.();
  }

  /** @param {Operation} failure */
  #retry(failure) {
    const finished = this.#surroundings.mailbox.operations.run(failure);
    const all = this.#all;
    if (all?.operation !== failure) return this.#report(finished);
    all.finished = finished;
    return this.#settle(all);
  }

  /** @param {EventTarget | null} target */
  #rowOf(target) {
    return this.#rows.get(/** @type {Element} */ (target).closest("li")?.dataset.id ?? "");
  }

  /** @param {Map<string, Item>} wanted */
  #removeAllBut(wanted) {
    let left = null;
    let kept = 0;
    for (const row of this.#inOrder) {
      if (wanted.has(row.item.id)) {
        kept += 1;
        continue;
      }
      if (row.hasFocus) left = kept;
      row.element.remove();
      this.#rows.delete(row.item.id);
    }
    return left;
  }
}
