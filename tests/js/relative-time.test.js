import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { fullTime, relativeTime, Ticker } from "../../static/themis/relative-time.js";
import { FakeClock } from "./harness.js";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const NOW = Date.parse("2026-11-22T10:00:00Z");

const ago = (ms, language = "en") => relativeTime(NOW - ms, NOW, language);

describe("relative time", () => {
  it("says how long ago something was", () => {
    const texts = [0, 59 * SECOND, MINUTE, 59 * MINUTE, HOUR, 23 * HOUR, DAY, 29 * DAY].map((ms) => ago(ms).text);
    assert.deepEqual(texts, [
      "now", "now", "1 minute ago", "59 minutes ago", "1 hour ago", "23 hours ago", "1 day ago", "29 days ago",
    ]);
  });

  it("knows how long that stays true", () => {
    const waits = [0, 61 * SECOND, 90 * MINUTE, 36 * HOUR, 31 * DAY].map((ms) => ago(ms).wait);
    assert.deepEqual(waits, [MINUTE, 59 * SECOND, 30 * MINUTE, 12 * HOUR, Infinity]);
  });

  it("gives the date after 30 days", () => {
    assert.match(ago(31 * DAY).text, /^Oct 2[12], 2026$/);
  });

  it("takes what a fast clock puts into the future for now", () => {
    assert.equal(ago(-5 * MINUTE).text, "now");
  });

  it("speaks the page's language", () => {
    assert.equal(ago(5 * MINUTE, "de").text, "vor 5 Minuten");
    assert.match(fullTime(NOW, "de"), /22\. November 2026/);
  });
});

/** As much of a document as a ticker needs. */
class FakePage extends EventTarget {
  visibilityState = "visible";
  show(state) {
    this.visibilityState = state;
    this.dispatchEvent(new Event("visibilitychange"));
  }
}

describe("the ticker", () => {
  it("has one timer for all, set by the soonest change", async () => {
    const clock = new FakeClock();
    const ticker = new Ticker(new FakePage(), clock);
    let ticks = 0;
    const fast = () => (ticks++, 60_000);
    ticker.add(fast);
    ticker.add(() => 3_600_000);
    ticks = 0;
    assert.equal(clock.pending, 1);
    await clock.advance(180_000);
    assert.equal(ticks, 3);
    ticker.delete(fast);
    await clock.advance(3_600_000);
    assert.equal(ticks, 3);
  });

  it("rests while the page is hidden and catches up when it is shown", async () => {
    const clock = new FakeClock();
    const page = new FakePage();
    const ticker = new Ticker(page, clock);
    let ticks = 0;
    ticker.add(() => (ticks++, 60_000));
    page.show("hidden");
    assert.equal(clock.pending, 0);
    await clock.advance(600_000);
    assert.equal(ticks, 1);
    page.show("visible");
    assert.equal(ticks, 2);
  });

  it("sets no timer when there is nothing to show", () => {
    const clock = new FakeClock();
    const ticker = new Ticker(new FakePage(), clock);
    const update = () => Infinity;
    ticker.add(update);
    ticker.delete(update);
    assert.equal(clock.pending, 0);
  });
});
