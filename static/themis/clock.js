/** @type {Clock} */
export const systemClock = {
  now: () => Date.now(),
  setTimeout: (callback, ms) => globalThis.setTimeout(callback, ms),
  clearTimeout: (handle) => globalThis.clearTimeout(handle),
  random: () => Math.random(),
};

export class Alarm {
  #clock;
  #callback;
  /** @type {unknown} */
  #handle;
  #at = Infinity;

  /** @param {Clock} clock @param {() => void} callback */
  constructor(clock, callback) {
    this.#clock = clock;
    this.#callback = callback;
  }

  get isSet() {
    return this.#at !== Infinity;
  }

  get left() {
    return this.#at - this.#clock.now();
  }

  /** @param {number} ms */
  set(ms) {
    this.clear();
    this.#at = this.#clock.now() + ms;
    this.#handle = this.#clock.setTimeout(() => {
      this.#at = Infinity;
      this.#callback();
    }, ms);
  }

  clear() {
    this.#clock.clearTimeout(this.#handle);
    this.#at = Infinity;
  }
}
