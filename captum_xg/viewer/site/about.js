// What was computed: settings of the runs, examples without attributions, notes.
"use strict";
(() => {
  const XG = window.captumXG;

  const settings = (run) => XG.el("table", { class: "plain-table" }, XG.el("tbody", {}, run.settings.map(([name, value]) =>
    XG.el("tr", {}, XG.el("th", { scope: "row" }, name), XG.el("td", {}, value)))));

  const refused = (run) => run.refusedCount > 0 && [
    XG.el("h4", {}, `${XG.many(run.refusedCount, "example")} without attributions`),
    XG.el("table", { class: "plain-table" }, XG.el("thead", {}, XG.el("tr", {}, ["id", "kind", "reason"].map((name) => XG.el("th", { scope: "col" }, name)))),
      XG.el("tbody", {}, run.refused.map((row) => XG.el("tr", {}, row.map((cell) => XG.el("td", {}, String(cell))))))),
    run.refusedCount > run.refused.length && XG.el("p", { class: "hint" }, `The first ${run.refused.length}.`),
  ];

  /** One line about the page. */
  XG.subtitle = () => {
    const { runs, examples } = XG.about;
    const parts = [XG.many(examples, "example"), runs.map((run) => run.name).join(" and ")];
    runs.forEach((run, r) => {
      const right = XG.column(`right.${r}`);
      if (!right) return;
      const known = right.filter((value) => value >= 0);
      parts.push(`${runs.length > 1 ? `${run.name} ` : "accuracy "}${XG.percent(known.reduce((a, b) => a + b, 0) / known.length)}${runs.length > 1 ? " right" : ""}`);
    });
    const lost = runs.reduce((n, run) => n + run.refusedCount, 0);
    if (lost) parts.push(`${XG.count(lost)} without attributions`);
    return parts.join("  ·  ");
  };

  /** Fill the view of what was computed. */
  XG.drawAbout = () => {
    const { runs, notes, sets } = XG.about;
    const reduced = XG.about.kind === "picture" && sets.some((set) => set.shape[0] * set.shape[1] > set.small[0] * set.small[1]);
    XG.fill(XG.at("panel-about"), XG.el("h2", {}, "About this page"),
      XG.el("ul", { class: "lead" },
        XG.el("li", {}, "Red speaks for the target, blue against it; the colour of zero is that of the paper."),
        XG.el("li", {}, "Sums, outputs and gaps are those of the run. Of each number of a map eight bits are kept."),
        runs.some((run) => run.outputs > 1 && !run.probabilities) && XG.el("li", {}, "Probabilities and confidence are the softmax of the outputs."),
        XG.about.kind === "picture" && XG.el("li", {}, "The ends of a map's colours are the 99.5th percentile of its absolute values; what is larger has their colour. For the whole page it is the 90th percentile of those."),
        reduced && XG.el("li", {}, "Maps are summed over channels and over the pixels that fall on one that is shown: their sums are kept."),
        notes.map((note) => XG.el("li", {}, note))),
      runs.map((run) => XG.el("section", {}, XG.el("h3", {}, `${run.name} in ${run.folder}`), settings(run), refused(run) || null)),
      XG.el("h3", {}, "Keys"),
      XG.el("dl", { class: "keys" }, [["Arrow keys, Home, End, Page up, Page down", "move between examples"], ["Enter", "open an example"],
        ["← →", "previous and next, when one is open"], ["Esc", "close it"]].map(([key, words]) =>
        XG.el("div", {}, XG.el("dt", {}, key), XG.el("dd", {}, words)))));
  };
})();
