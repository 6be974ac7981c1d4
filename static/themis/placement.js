const GAP = 8;
const EDGE = 8;
const COMFORT = 320;

/**
 * Put a panel of the top layer at its button: below it with their inline ends in one
 * line, above it where there is more room, and inside the viewport in any case. The
 * stylesheet reads the properties this sets, and ignores them on narrow screens.
 *
 * @param {HTMLElement} panel
 * @param {HTMLElement} button
 */
export function placeAt(panel, button) {
  const { clientWidth, clientHeight } = document.documentElement;
  const anchor = button.getBoundingClientRect();
  const below = clientHeight - anchor.bottom - GAP - EDGE;
  const above = anchor.top - GAP - EDGE;
  const isAbove = below < COMFORT && above > below;
  const isRtl = getComputedStyle(button).direction === "rtl";
  const end = isRtl ? anchor.left : clientWidth - anchor.right;
  const farthest = clientWidth - panel.offsetWidth - EDGE;

  const { style } = panel;
  style.setProperty("--themis-panel-inset-inline-end", `${Math.max(EDGE, Math.min(end, farthest))}px`);
  style.setProperty("--themis-panel-inset-block-start", isAbove ? "auto" : `${Math.max(EDGE, anchor.bottom + GAP)}px`);
  style.setProperty("--themis-panel-inset-block-end", isAbove ? `${clientHeight - anchor.top + GAP}px` : "auto");
  style.setProperty("--themis-panel-room", `${Math.max(isAbove ? above : below, 160)}px`);
}
