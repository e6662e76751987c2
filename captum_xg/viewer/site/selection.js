// Which examples are shown, and in which order.
"use strict";
(() => {
  const XG = window.captumXG;
  XG.order = new Int32Array(0);

  /** Numbers that examples can be sorted by: name, words, column and whether large ones are what one looks for. */
  XG.sortable = () => {
    const s = XG.setA();
    const run = XG.about.sets[s].run;
    const all = [
      ["id", "id", "id"],
      ["confidence", "confidence", `confidence.${run}`],
      ["gap", "completeness gap", `distance.${s}`],
      ["concentration", "concentration (Gini)", `concentration.${s}`],
      ["sum", "sum of attributions", `sum.${s}`],
      ["absolute", "sum of absolute attributions", `absolute.${s}`],
      ["F", "output F(x)", `F.${s}`],
      ["agreement", "agreement of the two maps", `agreement.${XG.setB() || s}`],
      ["label", "class", "label"],
      ["prediction", "prediction", `prediction.${run}`],
      ["cluster", "cluster", "cluster"],
      ...XG.about.further.map((name, i) => [`further${i}`, name, `further.${i}`]),
    ];
    const two = XG.setB() !== null;
    return all.filter(([key, , column]) => XG.column(column) && (key !== "agreement" || (two && s === 0)));
  };

  /** Numbers that examples can be filtered by. */
  XG.rangeable = () => XG.sortable().filter(([key]) =>
    ["confidence", "gap", "concentration", "agreement"].includes(key) || key.startsWith("further"));

  /** The set that is shown first, and the one beside it or null. */
  XG.setA = () => {
    const a = Number(XG.state.a);
    return Number.isInteger(a) && a >= 0 && a < XG.about.sets.length ? a : 0;
  };
  XG.setB = () => {
    const b = XG.state.b === "" ? NaN : Number(XG.state.b);
    return Number.isInteger(b) && b >= 0 && b < XG.about.sets.length && b !== XG.setA() ? b : null;
  };
  XG.sets = () => (XG.setB() === null ? [XG.setA()] : [XG.setA(), XG.setB()]);

  /** Tests of ids for a text such as "7, 40-60"; null if it holds none. */
  XG.idTest = (text) => {
    const parts = text.split(/[\s,;]+/).filter(Boolean).map((part) => part.match(/^(\d+)(?:[-–](\d+))?$/));
    if (!parts.length || parts.some((part) => !part)) return null;
    const spans = parts.map(([, low, high]) => [Number(low), Number(high ?? low)]);
    return (id) => spans.some(([low, high]) => id >= low && id <= high);
  };

  const equals = (name, text) => {
    const column = XG.column(name);
    const wanted = Number(text);
    return text === "" || !column || !Number.isInteger(wanted) ? null : (i) => column[i] === wanted;
  };

  const tests = () => {
    const { state } = XG;
    const run = XG.about.sets[XG.setA()].run;
    const right = XG.column(`right.${run}`);
    const found = [equals("label", state.class), equals(`target.${XG.setA()}`, state.target), equals(`prediction.${run}`, state.prediction), equals("cluster", state.cluster)];
    const ids = XG.column("id");
    const byId = state.ids && XG.idTest(state.ids);
    if (byId) found.push((i) => byId(ids[i]));
    if (right && state.answer) found.push((i) => right[i] === (state.answer === "right" ? 1 : 0));
    found.push(changeTest());
    for (const [key, , name] of XG.rangeable()) {
      const range = state.ranges[key];
      if (!range) continue;
      const column = XG.column(name);
      const [low, high] = [range[0] ?? -Infinity, range[1] ?? Infinity];
      found.push((i) => column[i] >= low && column[i] <= high);
    }
    return found.filter(Boolean);
  };

  const changeTest = () => {
    if (XG.about.runs.length < 2 || !XG.state.change) return null;
    const [p, q, right, after] = ["prediction.0", "prediction.1", "right.0", "right.1"].map(XG.column);
    return {
      same: (i) => p[i] === q[i],
      changed: (i) => p[i] !== q[i],
      fixed: right && ((i) => right[i] === 0 && after[i] === 1),
      broken: right && ((i) => right[i] === 1 && after[i] === 0),
    }[XG.state.change];
  };

  /** Find out which examples are shown; ties stay in the order of ids, what has no number comes last. */
  XG.select = () => {
    const all = tests();
    const kept = [];
    for (let i = 0; i < XG.about.examples; i++) if (all.every((test) => test(i))) kept.push(i);
    const down = XG.state.sort.startsWith("-");
    const key = XG.state.sort.replace("-", "");
    const name = XG.sortable().find(([each]) => each === key)?.[2];
    const column = XG.column(name ?? "id");
    const sign = down ? -1 : 1;
    kept.sort((i, j) => {
      const [x, y] = [column[i], column[j]];
      if (x === y) return i - j;
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || i - j;
      return x < y ? -sign : sign;
    });
    XG.order = Int32Array.from(kept);
  };
})();
