import { keep, kept } from "./storage.js";

const TICK = 5_000;
const SLEPT = 20_000;

/** @param {{suspend(): void, resume(): void, wake(): void}} follower @param {AbortSignal} signal */
export function followPage(follower, signal) {
  const wake = () => follower.wake();
  const wakeIfSeen = () => {
    if (document.visibilityState === "visible") wake();
  };
  // A page in the back/forward cache must hold nothing that others wait for.
  addEventListener("pagehide", () => follower.suspend(), { signal });
  addEventListener("pageshow", ({ persisted }) => persisted && follower.resume(), { signal });
  addEventListener("online", wake, { signal });
  document.addEventListener("resume", wake, { signal });
  document.addEventListener("visibilitychange", wakeIfSeen, { signal });

  // Sleep fires no event of its own; a tick that comes much too late gives it away.
  let last = Date.now();
  const timer = setInterval(() => {
    const gap = Date.now() - last;
    last = Date.now();
    if (gap > SLEPT) wakeIfSeen();
  }, TICK);
  signal.addEventListener("abort", () => clearInterval(timer));
}

const REMEMBERED = 1_800_000;
const BLOCKED = "themis:blocked";

/** Whether sockets are worth waiting for: a page tells the next one of its tab. */
export const tabMemory = {
  get isBlocked() {
    return Date.now() - Number(kept("sessionStorage", BLOCKED)) < REMEMBERED;
  },
  set isBlocked(isBlocked) {
    keep("sessionStorage", BLOCKED, isBlocked ? String(Date.now()) : null);
  },
};
