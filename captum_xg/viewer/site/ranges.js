// Filters by a range of numbers: a histogram of all examples, and two sliders under it.
"use strict";
(() => {
  const XG = window.captumXG;
  const STEPS = 100;
  const BINS = 40;

  /** How places of a slider are numbers of a column: by size for gaps, which differ by powers of ten, else evenly. */
  const scaleOf = (key, column) => {
    let [low, high, least] = [Infinity, -Infinity, Infinity];
    for (const value of column) {
      if (Number.isNaN(value)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
      if (value > 0 && value < least) least = value;
    }
    if (low > high) return null;
    if (key === "confidence") [low, high] = [0, 1];
    if (key === "gap" && high > 0 && least < high) {
      const [from, to] = [Math.log10(least), Math.log10(high)];
      return {
        at: (value) => (value <= least ? 0 : Math.min(1, (Math.log10(value) - from) / (to - from))),
        value: (share) => 10 ** (from + share * (to - from)), low: least, high,
      };
    }
    if (low === high) return null;
    return { at: (value) => Math.max(0, Math.min(1, (value - low) / (high - low))), value: (share) => low + share * (high - low), low, high };
  };

  const binsOf = (column, scale) => {
    const bins = new Array(BINS).fill(0);
    for (const value of column) if (!Number.isNaN(value)) bins[Math.min(BINS - 1, Math.floor(scale.at(value) * BINS))]++;
    return bins;
  };

  const drawBars = (canvas, bins, [from, to]) => {
    const most = Math.max(...bins);
    const [width, height] = [232, 36];
    const [, context] = XG.canvas(width, height, canvas);
    canvas.style.width = "100%";
    const style = getComputedStyle(document.documentElement);
    bins.forEach((n, k) => {
      const tall = n ? Math.max(1.5, (height - 2) * Math.sqrt(n / most)) : 0;
      const inside = (k + 1) / BINS > from && k / BINS < to;
      context.fillStyle = style.getPropertyValue(inside ? "--accent" : "--line");
      context.fillRect(k * (width / BINS), height - tall, width / BINS - 1, tall);
    });
  };

  const shown = (key, value) => (key === "confidence" ? XG.percent(value) : XG.num(value, 2));

  /** A filter by a range: an element, and what brings it up to date with the state. */
  XG.rangeFilter = (key, words, name) => {
    const column = XG.column(name);
    const scale = scaleOf(key, column);
    if (!scale) return null;
    const bins = binsOf(column, scale);
    const canvas = XG.el("canvas", { "aria-hidden": "true" });
    const said = XG.el("span", { class: "range-said", "aria-hidden": "true" });
    const slider = (which) => XG.el("input", {
      type: "range", min: "0", max: String(STEPS), step: "1", "aria-label": `${words}, ${which}`, class: `range-${which}`,
    });
    const [low, high] = [slider("from"), slider("to")];
    const element = XG.el("fieldset", { class: "range" },
      XG.el("legend", {}, words), said, XG.el("div", { class: "range-box" }, canvas, XG.el("div", { class: "sliders" }, low, high)));

    const update = () => {
      const [from, to] = XG.state.ranges[key] ?? [null, null];
      low.value = from === null ? 0 : Math.round(scale.at(from) * STEPS);
      high.value = to === null ? STEPS : Math.round(scale.at(to) * STEPS);
      const [a, b] = [from ?? scale.low, to ?? scale.high];
      said.textContent = `${shown(key, a)} to ${shown(key, b)}`;
      low.setAttribute("aria-valuetext", shown(key, a));
      high.setAttribute("aria-valuetext", shown(key, b));
      drawBars(canvas, bins, [low.value / STEPS, high.value / STEPS]);
    };
    const changed = (moved) => {
      if (Number(low.value) > Number(high.value)) {
        if (moved === low) low.value = high.value;
        else high.value = low.value;
      }
      const number = (input, end) => (Number(input.value) === end ? null : Number(scale.value(input.value / STEPS).toPrecision(4)));
      XG.setRange(key, number(low, 0), number(high, STEPS));
    };
    low.addEventListener("input", () => changed(low));
    high.addEventListener("input", () => changed(high));
    return { element, update };
  };
})();
