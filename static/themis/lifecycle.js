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
