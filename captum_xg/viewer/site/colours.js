// Colours of attributions: red for, blue against; zero is the colour of the paper, dark on dark screens.
"use strict";
(() => {
  const XG = window.captumXG;
  // ColorBrewer's RdBu, told apart by colour-blind readers; on dark screens the same hues grow lighter from black.
  const LIGHT = [[5, 48, 97], [33, 102, 172], [67, 147, 195], [146, 197, 222], [209, 229, 240], [247, 247, 247],
    [253, 219, 199], [244, 165, 130], [214, 96, 77], [178, 24, 43], [103, 0, 31]];
  const DARK = [[196, 230, 255], [122, 190, 250], [66, 142, 220], [40, 94, 160], [30, 56, 92], [22, 24, 28],
    [92, 36, 28], [160, 54, 36], [222, 92, 54], [255, 148, 96], [255, 218, 182]];
  const INK = { light: [[33, 102, 172], [178, 24, 43]], dark: [[92, 170, 255], [255, 118, 72]] };
  const darkness = window.matchMedia("(prefers-color-scheme: dark)");

  XG.isDark = () => darkness.matches;
  XG.onTheme = (listener) => darkness.addEventListener("change", listener);

  /** Red, green and blue for a share of the scale from −1 to 1. */
  XG.colour = (share) => {
    const stops = darkness.matches ? DARK : LIGHT;
    const place = ((Math.max(-1, Math.min(1, share)) + 1) / 2) * (stops.length - 1);
    const low = Math.min(Math.floor(place), stops.length - 2);
    return stops[low].map((part, k) => Math.round(part + (place - low) * (stops[low + 1][k] - part)));
  };

  XG.css = (share) => `rgb(${XG.colour(share).join(" ")})`;

  /** Black or white, whichever is read on the colour of a share. */
  XG.inkOn = (share) => {
    const [r, g, b] = XG.colour(share);
    return 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#16181c" : "#ffffff";
  };

  const pack = (r, g, b, alpha) => ((alpha << 24) | (b << 16) | (g << 8) | r) >>> 0;

  /** The colour of each level from −127 to 127 on a scale that ends at `scale`: as a map, or to lie on a picture. */
  XG.palette = (end, scale, over) => {
    const table = new Uint32Array(255);
    const [blue, red] = INK[darkness.matches ? "dark" : "light"];
    for (let level = -127; level <= 127; level++) {
      const share = scale > 0 ? XG.restored(level, end) / scale : 0;
      if (over) {
        const [r, g, b] = share > 0 ? red : blue;
        table[level + 127] = pack(r, g, b, Math.round(235 * Math.min(1, Math.abs(share)) ** 0.75));
      } else {
        table[level + 127] = pack(...XG.colour(share), 255);
      }
    }
    return table;
  };

  const factor = () => 2 ** (Number(XG.state.contrast) || 0);

  /** The number at the end of the colours, for a set and an example. */
  XG.scaleOf = (s, i, large = false) => {
    const name = large && XG.about.sets[s].large ? "large end" : "end";
    const page = name === "end" ? "end" : "largeEnd";
    const { scale } = XG.state;
    const sets = scale === "map" || !XG.sets().includes(s) ? [s] : XG.sets();
    const ends = sets.map((each) => (scale === "page" ? XG.about.sets[each][page] : XG.column(`${name}.${each}`)[i]));
    return Math.max(...ends) / factor();
  };

  /** The bar of the colours, with its numbers. */
  XG.colourBar = (left, middle, right) => {
    const stops = [];
    for (let k = 0; k <= 20; k++) stops.push(`${XG.css(k / 10 - 1)} ${k * 5}%`);
    const strip = XG.el("div", { class: "bar-strip", "aria-hidden": "true" });
    strip.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
    return [
      strip,
      XG.el("div", { class: "bar-numbers" }, XG.el("span", {}, left), XG.el("span", {}, middle), XG.el("span", {}, right)),
    ];
  };
})();
