// Classes and clusters: how many, how often right, and what counts in the mean.
"use strict";
(() => {
  const XG = window.captumXG;
  const SIDE = 92;

  const meanOf = (values, places) => {
    let [sum, n] = [0, 0];
    for (const i of places) if (!Number.isNaN(values[i])) { sum += values[i]; n++; }
    return n ? sum / n : NaN;
  };

  const factsOf = (places, run) => {
    const right = XG.column(`right.${run}`);
    const confidence = XG.column(`confidence.${run}`);
    const facts = [["Examples", XG.count(places.length)]];
    if (right) {
      const known = places.filter((i) => right[i] >= 0);
      const share = known.reduce((n, i) => n + right[i], 0) / known.length;
      facts.push(["Accuracy", XG.percent(share)]);
    }
    if (confidence) facts.push(["Mean confidence", XG.percent(meanOf(confidence, places))]);
    return facts;
  };

  const meanMap = async (mean, size, scale, words) => {
    const levels = new Int8Array((await XG.decoded(mean.data)).buffer);
    if (XG.about.kind === "table") {
      return XG.el("figure", {}, XG.el("div", { class: "features" }, XG.featureRows({ levels, end: mean.end }, scale, null, 8)), XG.el("figcaption", {}, words));
    }
    const [canvas, context] = XG.canvas(SIDE, SIDE);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", words);
    XG.drawMap(context, { levels, end: mean.end }, scale, size, 0, 0, SIDE);
    return XG.el("figure", {}, canvas, XG.el("figcaption", {}, words, XG.el("span", { class: "dim" }, ` ±${XG.num(scale, 2)}`)));
  };

  const meansOf = async (kind, wanted) => {
    const found = [];
    for (const s of XG.sets()) {
      const set = XG.about.sets[s];
      const all = set.means.filter((each) => each.of === kind);
      const mean = all.find((each) => each.class === wanted);
      if (!mean) continue;
      if (mean.words) {
        const end = Math.max(...mean.words.map(([, value]) => Math.abs(value)));
        found.push(XG.el("figure", {}, XG.el("div", { class: "features" }, mean.words.map(([id, value]) => XG.barRow(XG.word(id), value, end))),
          XG.el("figcaption", {}, XG.sets().length > 1 ? `${set.name}: mean for each text` : "Mean for each text")));
        continue;
      }
      const end = (name) => (XG.state.scale === "page" ? Math.max(...all.map((each) => each[name].end)) : mean[name].end);
      const before = XG.sets().length > 1 ? `${set.name}: mean` : "Mean";
      found.push(await meanMap(mean.signed, set.small, end("signed"), before));
      found.push(await meanMap(mean.absolute, set.small, end("absolute"), XG.sets().length > 1 ? `${set.name}: absolute` : "Mean absolute"));
    }
    return found;
  };

  /** A group: its name and facts at once; maps and typical examples when they are painted. */
  const box = (name, facts, changes, maps, ids) => {
    const shown = XG.el("div", { class: "group-maps" });
    const examples = XG.el("div", { class: "typicals" });
    const article = XG.el("article", { class: "group" },
      XG.el("div", { class: "group-head" }, XG.el("h3", {}, name),
        XG.el("button", { type: "button", class: "plain", onclick: () => XG.set({ ...changes, tab: "examples" }), "aria-label": `Show the examples of ${name}` }, "Show examples")),
      XG.factList(facts), shown, examples);
    const failed = (error) => { shown.append(XG.el("span", { class: "missing" }, error.message)); };
    maps.then((found) => XG.fill(shown, found)).catch(failed);
    if (ids.length) typical(ids).then((found) => XG.fill(examples, XG.el("p", { class: "hint" }, "Typical examples"), found)).catch(failed);
    return article;
  };

  /** Fill the view of the classes. */
  XG.drawClasses = () => {
    const run = XG.about.sets[XG.setA()].run;
    const column = XG.column("label") ?? XG.column(`target.${XG.setA()}`);
    const name = XG.column("label") ? "class" : "target";
    const all = new Map();
    column.forEach((k, i) => { if (k >= 0) (all.get(k) ?? all.set(k, []).get(k)).push(i); });
    const boxes = [];
    for (const k of [...all.keys()].sort((a, b) => a - b)) {
      boxes.push(box(XG.className(k), factsOf(all.get(k), run), { ...XG.unfiltered, [name]: String(k) }, meansOf("class", k), []));
    }
    const words = XG.about.kind === "table" ? "Mean attributions of the features over the examples of a class." : XG.about.kind === "tokens" ? "The words that add most to the output, or take most from it: their attributions summed over the texts of a class, divided by the number of texts." : "Mean maps over the examples of a class show what counts in all of them: a mark in a corner, an edge, a background.";
    XG.fill(XG.at("panel-classes"), XG.el("h2", {}, "Classes"), XG.el("p", { class: "lead" }, words), XG.el("div", { class: "groups" }, boxes.length ? boxes : XG.el("p", {}, "There are no classes.")));
  };

  const typical = async (ids) => Promise.all(ids.map(async (id) => {
    const i = XG.placeOf(id);
    if (i < 0) return null;
    const s = XG.setA();
    const button = XG.el("button", { type: "button", class: "typical", onclick: () => XG.set({ open: String(id) }), "aria-label": `Open example ${id}` });
    if (XG.about.kind !== "picture") { button.append(`#${id}`); return button; }
    const [picture, map] = await Promise.all([XG.hasPictures() ? XG.picture(i) : null, XG.map(s, i)]);
    const [canvas, context] = XG.canvas(60, 60);
    const outer = XG.outerSize(s);
    if (picture) XG.drawOverlay(context, picture, map, XG.scaleOf(s, i), XG.mapSize(s), 0, 0, 60, outer);
    else XG.drawMap(context, map, XG.scaleOf(s, i), XG.mapSize(s), 0, 0, 60, outer);
    button.append(canvas);
    return button;
  }));

  /** Fill the view of the clusters. */
  XG.drawClusters = () => {
    const { clusters } = XG.about;
    const boxes = [];
    for (const [k, cluster] of clusters.entries()) {
      const facts = [
        ["Examples", `${XG.count(cluster.size)} (${XG.percent(cluster.part)})`, "How many, and their share of the class"],
        ["Accuracy", cluster.accuracy === null ? "–" : XG.percent(cluster.accuracy)],
        ["Stands apart", XG.num(cluster.apart, 2), "From −1 to 1: how much nearer its examples are to their own centre than to the next of the class"],
      ];
      boxes.push(box(cluster.name, facts, { ...XG.unfiltered, cluster: String(k) }, meansOf("cluster", k), cluster.typical));
    }
    XG.fill(XG.at("panel-clusters"), XG.el("h2", {}, "Clusters"),
      XG.el("p", { class: "lead" }, "Examples that are explained alike. Those that stand apart most come first: such a cluster may be decided by something else than the rest of its class."),
      XG.el("div", { class: "groups" }, boxes.length ? boxes : XG.el("p", {}, "There are no clusters.")));
  };
})();
