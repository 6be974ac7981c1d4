/** Storage may be forbidden: then nothing is kept. @param {Area} area @param {string} key */
export function kept(area, key) {
  try {
    return globalThis[area].getItem(key);
  } catch {
    return null;
  }
}

/** @param {Area} area @param {string} key @param {string | null} value */
export function keep(area, key, value) {
  try {
    if (value === null) globalThis[area].removeItem(key);
    else globalThis[area].setItem(key, value);
  } catch {
    // Whoever reads finds nothing.
  }
}
