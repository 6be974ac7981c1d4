/** @type {Clock} */
export const systemClock = {
  now: () => Date.now(),
  setTimeout: (callback, ms) => globalThis.setTimeout(callback, ms),
  clearTimeout: (handle) => globalThis.clearTimeout(handle),
  random: () => Math.random(),
};

/** One timer that is set, moved or cleared; setting it again replaces it. */
export class Alarm {
  #clock;
  #callback;
  /** @type {unknown} */
  #handle;
  #set = false;
  #at = 0;

  /**
   * @param {Clock} clock
   * @param {() => void} callback
   */
  constructor(clock, callback) {
    this.#clock = clock;
    this.#callback = callback;
  }

  get isSet() {
    return this.#set;
  }

  /** Milliseconds until it goes off; Infinity = it is not set. */
  get left() {
    return this.#set ? this.#at - this.#clock.now() : Infinity;
  }

  /** @param {number} ms */
  set(ms) {
    this.clear();
    this.#set = true;
    this.#at = this.#clock.now() + ms;
    this.#handle = this.#clock.setTimeout(() => {
      this.#set = false;
      this.#callback();
    }, ms);
  }

  clear() {
    if (this.#set) this.#clock.clearTimeout(this.#handle);
    this.#set = false;
  }
}
