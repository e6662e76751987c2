// Filters, order and looks: what the user can choose, kept in step with the state.
"use strict";
(() => {
  const XG = window.captumXG;
  let updates = [];

  /** A choice from a list, bound to a part of the state. */
  const choice = (words, name, options) => {
    const select = XG.el("select", { id: `choose-${name}`, onchange: () => XG.set({ [name]: select.value }) },
      options().map(([value, text]) => XG.el("option", { value }, text)));
    updates.push(() => { select.value = XG.state[name]; });
    return XG.el("div", { class: "choice" }, XG.el("label", { for: select.id }, words), select);
  };

  /** A row of buttons of which one is pressed. */
  const segments = (words, name, options) => {
    const buttons = options.map(([value, text, hint]) => XG.el("button", {
      type: "button", title: hint, onclick: () => XG.set({ [name]: value }),
    }, text));
    updates.push(() => buttons.forEach((button, k) => button.setAttribute("aria-pressed", String(XG.state[name] === options[k][0]))));
    return XG.el("div", { class: "segments-box" }, XG.el("span", { class: "segments-name", id: `name-${name}` }, words),
      XG.el("div", { class: "segments", role: "group", "aria-labelledby": `name-${name}` }, buttons));
  };

  const classChoices = (name, all) => [["", all], ...XG.counted(name).map(([k, n]) => [String(k), `${XG.className(k)} (${XG.count(n)})`])];

  const idSearch = () => {
    const input = XG.el("input", { type: "search", placeholder: "7, 40-60", autocomplete: "off", inputmode: "numeric" });
    const hint = XG.el("span", { class: "hint", hidden: true }, "Numbers and spans, such as 7, 40-60");
    input.addEventListener("input", () => {
      const bad = input.value.trim() !== "" && !XG.idTest(input.value);
      hint.hidden = !bad;
      input.setAttribute("aria-invalid", String(bad));
      if (!bad) XG.set({ ids: input.value.trim() });
    });
    updates.push(() => { if (document.activeElement !== input) input.value = XG.state.ids; });
    return XG.el("label", { class: "choice" }, XG.el("span", {}, "Search by id"), input, hint);
  };

  const answerCounts = () => {
    const right = XG.column(`right.${XG.about.sets[XG.setA()].run}`);
    return [1, 0].map((wanted) => XG.count(right.reduce((n, value) => n + (value === wanted), 0)));
  };

  const filters = () => {
    const run = XG.about.sets[XG.setA()].run;
    const parts = [idSearch()];
    if (XG.column(`right.${run}`)) {
      const [right, wrong] = answerCounts();
      parts.push(segments("Answer", "answer", [["", "All"], ["right", "✓ Right", right], ["wrong", "✗ Wrong", wrong]]));
    }
    if (XG.about.runs.length > 1 && XG.column("prediction.0")[0] >= 0) {
      const changes = [["", "Any answer"], ["same", "The same answer"], ["changed", "Another answer"]];
      if (XG.column("right.0")) changes.push(["fixed", "Wrong, then right"], ["broken", "Right, then wrong"]);
      parts.push(choice("In the second run", "change", () => changes));
    }
    if (XG.column("label")) parts.push(choice("Class", "class", () => classChoices("label", "All classes")));
    const target = `target.${XG.setA()}`;
    if (!XG.column("label") && XG.counted(target).length) parts.push(choice("Target", "target", () => classChoices(target, "Any target")));
    if (XG.about.runs[run].outputs > 1) parts.push(choice("Predicted as", "prediction", () => classChoices(`prediction.${run}`, "Any class")));
    if (XG.about.clusters) {
      const names = XG.about.clusters.map(({ name }, k) => [String(k), name]);
      parts.push(choice("Cluster", "cluster", () => [["", "All clusters"], ...names, ["-1", "in no cluster"]]));
    }
    for (const [key, words, column] of XG.rangeable()) {
      const found = XG.rangeFilter(key, words.charAt(0).toUpperCase() + words.slice(1), column);
      if (!found) continue;
      parts.push(found.element);
      updates.push(found.update);
    }
    parts.push(XG.el("div", { class: "filter-end" },
      XG.el("button", { type: "button", class: "plain", onclick: XG.reset }, "Reset filters"),
      XG.el("button", { type: "button", class: "plain", onclick: saveIds, title: "Save the ids of the examples that are shown, in their order" }, "Save ids")));
    return parts;
  };

  const saveIds = () => {
    const ids = XG.column("id");
    const text = `${Array.from(XG.order, (i) => ids[i]).join("\n")}\n`;
    const link = XG.el("a", { href: URL.createObjectURL(new Blob([text], { type: "text/plain" })), download: "ids.txt" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  const order = () => {
    const key = () => XG.state.sort.replace("-", "");
    const select = XG.el("select", { id: "sort", onchange: () => {
      // What stands out comes first: large gaps, low confidence.
      const up = ["id", "label", "prediction", "confidence", "agreement", "cluster"].includes(select.value);
      XG.set({ sort: (up ? "" : "-") + select.value });
    } }, XG.sortable().map(([value, words]) => XG.el("option", { value }, words)));
    const turn = XG.el("button", { type: "button", class: "icon", onclick: () => {
      XG.set({ sort: (XG.state.sort.startsWith("-") ? "" : "-") + key() });
    } });
    updates.push(() => {
      select.value = key();
      const down = XG.state.sort.startsWith("-");
      turn.textContent = down ? "↓" : "↑";
      turn.setAttribute("aria-label", down ? "largest first" : "smallest first");
      turn.title = down ? "Largest first" : "Smallest first";
    });
    return XG.el("div", { class: "choice inline" }, XG.el("label", { for: "sort" }, "Sort by"), XG.el("span", { class: "joined" }, select, turn));
  };

  const looks = () => {
    const two = XG.about.sets.length > 1;
    const scales = [["example", "each example"], ...(two ? [["map", "each map"]] : []), ["page", "whole page"]];
    const parts = [choice("Colour scale", "scale", () => scales), contrast(), segments("Size", "size", [["s", "S", "small"], ["m", "M", "medium"], ["l", "L", "large"]])];
    if (two) {
      const names = XG.about.sets.map(({ name }, s) => [String(s), name]);
      parts.unshift(choice("Shown", "a", () => names), choice("beside", "b", () => [["", "nothing"], ...names]));
    }
    return parts;
  };

  const contrast = () => {
    const input = XG.el("input", { type: "range", min: "-2", max: "4", step: "0.5", oninput: () => XG.set({ contrast: String(Number(input.value)) }) });
    updates.push(() => {
      input.value = XG.state.contrast;
      input.setAttribute("aria-valuetext", `${XG.num(2 ** Number(XG.state.contrast), 2)} times`);
    });
    return XG.el("label", { class: "choice contrast" }, XG.el("span", {}, "Contrast"), input);
  };

  const chip = (text, undo) => XG.el("button", { type: "button", class: "chip", onclick: undo, "aria-label": `${text}: remove this filter` }, text, XG.el("span", { "aria-hidden": "true" }, "×"));

  const chips = () => {
    const { state } = XG;
    const found = [];
    const add = (on, text, changes) => on && found.push(chip(text, () => XG.set(changes)));
    add(state.ids, `id ${state.ids}`, { ids: "" });
    add(state.answer, state.answer, { answer: "" });
    const words = { same: "the same answer", changed: "another answer", fixed: "wrong, then right", broken: "right, then wrong" };
    add(state.change, words[state.change] ?? state.change, { change: "" });
    add(state.class, XG.className(Number(state.class)), { class: "" });
    add(state.target, `target ${XG.className(Number(state.target))}`, { target: "" });
    add(state.prediction, `predicted ${XG.className(Number(state.prediction))}`, { prediction: "" });
    add(state.cluster, XG.about.clusters?.[state.cluster]?.name ?? "in no cluster", { cluster: "" });
    for (const [key, words] of XG.rangeable()) {
      const range = state.ranges[key];
      if (!range) continue;
      const text = (value) => (key === "confidence" ? XG.percent(value) : XG.num(value, 2));
      const span = range[0] === null ? `≤ ${text(range[1])}` : range[1] === null ? `≥ ${text(range[0])}` : `${text(range[0])} to ${text(range[1])}`;
      found.push(chip(`${words} ${span}`, () => XG.setRange(key, null, null)));
    }
    return found;
  };

  const bar = () => {
    const one = XG.state.scale !== "page";
    if (!one) {
      const end = XG.scaleOf(XG.setA(), 0);
      return XG.colourBar(`−${XG.num(end, 2)}`, "0", `+${XG.num(end, 2)}`);
    }
    return XG.colourBar("− scale", "0", "+ scale");
  };

  /** Bring all controls, the count, the chips and the bar up to date. */
  XG.updateControls = () => {
    updates.forEach((update) => update());
    XG.at("count").textContent = XG.order.length === XG.about.examples
      ? XG.many(XG.about.examples, "example") : `${XG.count(XG.order.length)} of ${XG.many(XG.about.examples, "example")}`;
    const active = chips();
    XG.fill(XG.at("chips"), active);
    XG.at("filter-count").textContent = active.length ? ` (${active.length})` : "";
    XG.fill(XG.at("bar"), bar(), XG.el("p", { class: "bar-words" }, XG.el("span", {}, "against the target"), XG.el("span", {}, "for it")));
  };

  /** Make all controls. */
  XG.startControls = () => {
    updates = [];
    XG.fill(XG.at("filters"), filters());
    const toggle = XG.el("button", {
      type: "button", class: "filter-toggle", "aria-expanded": "false", "aria-controls": "filters",
      onclick: () => {
        const open = XG.at("panel-examples").classList.toggle("filters-open");
        toggle.setAttribute("aria-expanded", String(open));
      },
    }, "Filters", XG.el("span", { id: "filter-count" }));
    XG.fill(XG.at("toolbar"), toggle, order(), XG.el("div", { class: "looks" }, looks()));
    XG.at("legend").textContent = XG.about.kind === "picture" && XG.hasPictures() ? "input  ·  attribution  ·  attribution on the input" : "";
    XG.fill(XG.at("nothing"), XG.el("p", {}, "No example passes all filters."),
      XG.el("button", { type: "button", class: "plain", onclick: XG.reset }, "Reset filters"));
  };
})();
