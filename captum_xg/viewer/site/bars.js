// Features of tables as bars to the left (against) and to the right (for) of a common zero.
"use strict";
(() => {
  const XG = window.captumXG;

  XG.featureName = (k) => XG.about.features[k] ?? `feature ${k}`;

  /** The places of the largest attributions, largest first. */
  XG.largest = (levels, most) => {
    const places = Array.from(levels.keys());
    places.sort((a, b) => Math.abs(levels[b]) - Math.abs(levels[a]) || a - b);
    return places.slice(0, most);
  };

  /** Rows of name, value of the feature if known, bar and number. */
  XG.featureRows = (map, scale, values, most) =>
    XG.largest(map.levels, most).map((k) =>
      XG.barRow(XG.featureName(k), XG.restored(map.levels[k], map.end), scale, values && XG.num(values[k])));

  /** A row of a name, a bar for an attribution, and the number. */
  XG.barRow = (name, value, scale, beside = null) => {
    const share = Math.max(-1, Math.min(1, scale > 0 ? value / scale : 0));
    const fill = XG.el("i", { "aria-hidden": "true" });
    fill.style.width = `${Math.abs(share) * 50}%`;
    fill.style.left = `${share < 0 ? 50 - Math.abs(share) * 50 : 50}%`;
    fill.style.backgroundColor = XG.css(share < 0 ? -0.72 : 0.72);
    return XG.el("div", { class: "feature" },
      XG.el("span", { class: "feature-name", title: name }, name),
      beside !== null && XG.el("span", { class: "feature-value" }, beside),
      XG.el("span", { class: "feature-bar" }, fill),
      XG.el("span", { class: "feature-number" }, XG.signed(value, 2)));
  };

  /** The words above rows of features. */
  XG.featureHead = (values) => XG.el("div", { class: "feature feature-head" }, XG.el("span", { class: "feature-name" }, "Feature"),
    values && XG.el("span", { class: "feature-value" }, "Value"), XG.el("span", { class: "feature-bar" }),
    XG.el("span", { class: "feature-number" }, "Attribution"));

  /** The values of an example's features; null where these are not known, or the bars are not of inputs. */
  XG.values = async (s, i) => (XG.hasFamily("values") && !XG.about.sets[s].layer ? XG.numbers(Float64Array, await XG.bytes("values", i)) : null);
})();
