import { Alarm } from "./clock.js";

const SPACING = 1_000;

const ANSWER_TIMEOUT = 5_000;

export class Resync {
  #clock;
  #send;
  #next;
  #answer;
  #lastAt = -Infinity;
  /** @type {Position | null} */
  #wanted = null;

  /** @param {Clock} clock @param {() => void} send */
  constructor(clock, send) {
    this.#clock = clock;
    this.#send = send;
    this.#next = new Alarm(clock, () => this.#ask());
    this.#answer = new Alarm(clock, () => this.#askAgain());
  }

  /** @param {Position} position */
  want({ epoch, revision }) {
    if (this.#wanted?.epoch !== epoch || this.#wanted.revision < revision) this.#wanted = { epoch, revision };
    if (!this.#answer.isSet) this.#askAgain();
  }

  /** @param {Position} position */
  settle({ epoch, revision }) {
    if (this.#wanted?.epoch === epoch && this.#wanted.revision <= revision) {
      this.#wanted = null;
      this.#next.clear();
    }
    this.#answer.clear();
    this.#askAgain();
  }

  /** The line is gone, and the question with it: a new line begins with the answer. */
  reset() {
    this.#wanted = null;
    this.#next.clear();
    this.#answer.clear();
  }

  #askAgain() {
    if (this.#wanted === null || this.#next.isSet) return;
    const left = this.#lastAt + SPACING - this.#clock.now();
    if (left > 0) this.#next.set(left);
    else this.#ask();
  }

  #ask() {
    // Forgotten once asked: a frame from a dead epoch must not make the page ask for ever.
    this.#wanted = null;
    this.#lastAt = this.#clock.now();
    this.#answer.set(ANSWER_TIMEOUT);
    this.#send();
  }
}
