const GAP = 8;
const EDGE = 8;
const COMFORT = 320;

/** The stylesheet ignores these properties on narrow screens. @param {HTMLElement} panel @param {HTMLElement} button */
export function placeAt(panel, button) {
  const { clientWidth, clientHeight } = document.documentElement;
  const { top, bottom, left, right } = button.getBoundingClientRect();
  const below = clientHeight - bottom - GAP - EDGE;
  const above = top - GAP - EDGE;
  const isAbove = below < COMFORT && above > below;
  const end = getComputedStyle(button).direction === "rtl" ? left : clientWidth - right;
  const farthest = clientWidth - panel.offsetWidth - EDGE;
  const lengths = {
    "--themis-panel-inset-inline-end": Math.max(EDGE, Math.min(end, farthest)),
    "--themis-panel-inset-block-start": isAbove ? null : Math.max(EDGE, bottom + GAP),
    "--themis-panel-inset-block-end": isAbove ? clientHeight - top + GAP : null,
    "--themis-panel-room": Math.max(isAbove ? above : below, 160),
  };
  for (const [name, length] of Object.entries(lengths)) {
    panel.style.setProperty(name, length === null ? "auto" : `${length}px`);
  }
}
