// What is known of one example, as tables.
"use strict";
(() => {
  const XG = window.captumXG;

  /** The classes with the largest outputs: probability, as a bar and a number, and the output itself. */
  XG.topClasses = async (i, run, most) => {
    const about = XG.about.runs[run];
    if (about.outputs === 1) return null;
    const bytes = await XG.bytes(`outputs${run}`, i);
    const count = bytes.length / 12;
    const [classes, logits] = [XG.numbers(Int32Array, bytes, 0, count), XG.numbers(Float64Array, bytes, 4 * count, count)];
    const normaliser = XG.column(`normaliser.${run}`)[i];
    const label = XG.column("label")?.[i];
    const rows = Array.from(classes.slice(0, most), (k, rank) => {
      const share = about.probabilities ? logits[rank] : Math.exp(logits[rank] - normaliser);
      const fill = XG.el("i", { "aria-hidden": "true" });
      fill.style.width = `${100 * share}%`;
      return XG.el("tr", { class: k === label ? "is-label" : null },
        XG.el("th", { scope: "row" }, XG.className(k), k === label && [" ", XG.el("span", { class: "tag" }, "label")]),
        XG.el("td", { class: "share" }, fill, XG.el("span", {}, XG.percent(share))),
        !about.probabilities && XG.el("td", { class: "number" }, XG.num(logits[rank])));
    });
    return XG.el("table", { class: "tops" },
      XG.el("thead", {}, XG.el("tr", {}, XG.el("th", { scope: "col" }, about.outputs > rows.length ? `Top ${rows.length} of ${XG.count(about.outputs)} classes` : "Class"),
        XG.el("th", { scope: "col" }, "Probability"), !about.probabilities && XG.el("th", { scope: "col", class: "number" }, "Output"))),
      XG.el("tbody", {}, rows));
  };

  /** The sums of the attributions of a set, and what they are to add up to. */
  XG.sumFacts = (i, s) => {
    const value = (name) => XG.column(`${name}.${s}`)[i];
    const target = value("target");
    const facts = [
      ["Target", target >= 0 ? XG.className(target) : "the only output", "The output that is explained"],
      ["Output F(x)", XG.num(value("F"), 5), "What the model gives for the target"],
      ["Sum of attributions", XG.num(value("sum"), 5), "Over all features, channels and inputs"],
      ["Completeness gap", XG.signed(value("gap")), "Sum of attributions − (F(x) − F(baseline)): 0 if nothing is lost"],
      ["Sum of absolute values", XG.num(value("absolute"), 4), "Of the attributions, once channels are summed"],
      ["Concentration (Gini)", XG.num(value("concentration")), "0: all features count the same; near 1: very few do"],
    ];
    const other = s === 0 ? null : XG.column(`agreement.${s}`)?.[i];
    if (other !== null && other !== undefined) facts.push([`Agreement with ${XG.about.sets[0].name}`, XG.num(other), "Cosine of the two maps"]);
    return XG.factList(facts);
  };

  /** Pairs of a name and a value, with an explanation where the mouse rests. */
  XG.factList = (facts) => XG.el("dl", { class: "facts" }, facts.map(([name, value, hint]) =>
    XG.el("div", { title: hint }, XG.el("dt", {}, name), XG.el("dd", {}, value))));

  /** Numbers that the user brought along, and the cluster. */
  XG.furtherFacts = (i) => {
    const facts = XG.about.further.map((name, k) => [name, XG.num(XG.column(`further.${k}`)[i])]);
    const cluster = XG.column("cluster")?.[i];
    if (cluster >= 0) facts.push(["Cluster", XG.about.clusters[cluster].name]);
    return facts.length ? XG.factList(facts) : null;
  };
})();
