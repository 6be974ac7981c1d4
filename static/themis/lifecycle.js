const TICK = 5_000;
const SLEPT = 20_000;

/**
 * Tell what happens to the page: put away and taken out again, shown, frozen and
 * resumed, the network back, the computer woken.
 *
 * @param {{suspend: () => void, resume: () => void, wake: () => void}} follower
 * @param {AbortSignal} signal Ends it.
 */
export function followPage(follower, signal) {
  const wake = () => follower.wake();
  const options = { signal };
  // A page in the back/forward cache must hold nothing that others wait for.
  addEventListener("pagehide", () => follower.suspend(), options);
  addEventListener(
    "pageshow",
    (event) => {
      if (event.persisted) follower.resume();
    },
    options,
  );
  addEventListener("online", wake, options);
  document.addEventListener("resume", wake, options);
  document.addEventListener(
    "visibilitychange",
    () => {
      if (document.visibilityState === "visible") wake();
    },
    options,
  );

  // Sleep fires no event of its own; a tick that comes much too late gives it away.
  let last = Date.now();
  const timer = setInterval(() => {
    const gap = Date.now() - last;
    last = Date.now();
    if (gap > SLEPT && document.visibilityState === "visible") wake();
  }, TICK);
  signal.addEventListener("abort", () => clearInterval(timer));
}

/** How long it is remembered that something in between forbids sockets. */
const REMEMBERED = 1_800_000;
const BLOCKED = "themis:blocked";

/** What the pages of a tab tell each other: whether sockets are worth waiting for. */
export const tabMemory = {
  get isBlocked() {
    try {
      return Date.now() - Number(sessionStorage.getItem(BLOCKED)) < REMEMBERED;
    } catch {
      // Storage may be forbidden.
      return false;
    }
  },
  set isBlocked(isBlocked) {
    try {
      if (isBlocked) sessionStorage.setItem(BLOCKED, String(Date.now()));
      else sessionStorage.removeItem(BLOCKED);
    } catch {
      // The next page finds out for itself.
    }
  },
};
