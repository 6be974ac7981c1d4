const FLOOR = 250;
const FIRST = 1_000;

export const CAP = 30_000;

export const CAP_NEVER_OPENED = 300_000;

export const RESTART = 5_000;

/**
 * A crowd that lost its server at one moment comes back spread out.
 *
 * @param {number} failures @param {number} cap @param {() => number} random
 */
export function backoff(failures, cap, random) {
  return spread(Math.min(cap, FIRST * 2 ** failures), random);
}

/** @param {number} ms @param {() => number} random */
export function spread(ms, random) {
  return FLOOR + random() * Math.max(0, Math.min(ms, CAP_NEVER_OPENED) - FLOOR);
}
