/** @type {Map<string, Verb | "next" | "previous" | "undo" | "help">} */
const KEYS = new Map([
  ["arrowdown", "next"],
  ["j", "next"],
  ["arrowup", "previous"],
  ["k", "previous"],
  ["e", "dismiss"],
  ["shift+i", "read"],
  ["shift+u", "unread"],
  ["z", "undo"],
]);

/** @param {KeyboardEvent} event */
export function keyAction({ key, shiftKey, ctrlKey, altKey, metaKey, isComposing, defaultPrevented, target }) {
  if (ctrlKey || altKey || metaKey || isComposing || defaultPrevented) return undefined;
  if (/** @type {Element} */ (target)?.closest("input, textarea, select, [contenteditable]")) return undefined;
  // A layout has it with shift or without.
  return key === "?" ? "help" : KEYS.get(`${shiftKey ? "shift+" : ""}${key.toLowerCase()}`);
}
