// Texts whose tokens lie on the colours of their attributions.
"use strict";
(() => {
  const XG = window.captumXG;
  let words = null;

  XG.word = (id) => {
    words ??= new Map(XG.about.tokens);
    return words.get(id) ?? `#${id}`;
  };

  /** The ids of the tokens of an example. */
  XG.tokens = async (i) => XG.numbers(Int32Array, await XG.bytes("tokens", i));

  /** Tokens as spans; at most so many. */
  XG.tokenSpans = (ids, map, scale, most = Infinity) => {
    const spans = [];
    for (let t = 0; t < Math.min(ids.length, most); t++) {
      const value = XG.restored(map.levels[t], map.end);
      const share = scale > 0 ? value / scale : 0;
      const span = XG.el("span", { class: "token", title: XG.signed(value) }, XG.word(ids[t]));
      span.style.backgroundColor = XG.css(share * 0.8); // letters stay readable at the ends
      span.style.color = XG.inkOn(share * 0.8);
      spans.push(span, " ");
    }
    if (ids.length > most) spans.push(XG.el("span", { class: "more" }, `… ${ids.length - most} more`));
    return spans;
  };
})();
