// One example in full: large maps, what the model says, what the attributions add up to.
"use strict";
(() => {
  const XG = window.captumXG;
  let shown = -1; // place of the example
  let turn = 0;
  let parts = null;

  const dialog = () => XG.at("detail");
  const position = () => XG.order.indexOf(shown);

  const go = (step) => {
    const at = position();
    const next = at + step;
    if (at < 0 || next < 0 || next >= XG.order.length) return;
    XG.set({ open: String(XG.column("id")[XG.order[next]]) });
  };

  const make = () => {
    const button = (text, label, act) => XG.el("button", { type: "button", class: "icon", "aria-label": label, title: label, onclick: act }, text);
    parts = {
      title: XG.el("h2", { id: "detail-title", tabindex: "-1", autofocus: true }),
      place: XG.el("p", { class: "detail-place", "aria-live": "polite" }),
      before: button("←", "Previous example (left arrow)", () => go(-1)),
      after: button("→", "Next example (right arrow)", () => go(1)),
      body: XG.el("div", { class: "detail-body" }),
    };
    XG.fill(dialog(), XG.el("div", { class: "detail-head" }, parts.title, parts.place,
      XG.el("div", { class: "detail-buttons" }, parts.before, parts.after, button("×", "Close (Escape)", () => dialog().close()))), parts.body);
    dialog().addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("input, select")) return;
      if (event.key === "ArrowLeft") go(-1);
      else if (event.key === "ArrowRight") go(1);
      else return;
      event.preventDefault();
    });
    dialog().addEventListener("click", (event) => { if (event.target === dialog()) dialog().close(); });
    dialog().addEventListener("close", () => {
      const at = position();
      shown = -1;
      if (XG.state.open !== "") XG.set({ open: "" });
      if (at >= 0 && XG.state.tab === "examples") XG.focusOn(at);
    });
  };

  const heading = (i) => {
    const { label, prediction, confidence, right } = XG.verdict(i, XG.about.sets[XG.setA()].run);
    const id = XG.el("span", { class: "detail-id" }, `#${XG.column("id")[i]}`);
    const said = [];
    if (label >= 0) said.push(XG.el("span", {}, XG.className(label)));
    if (prediction >= 0 && right !== 1) said.push(XG.el("span", {}, `${label >= 0 ? "→ " : ""}${XG.className(prediction)}`));
    if (confidence !== undefined) said.push(XG.el("span", { class: "dim" }, XG.percent(confidence)));
    if (right === 0 || right === 1) said.push(XG.el("span", { class: right ? "badge right" : "badge wrong" }, right ? "✓ right" : "✗ wrong"));
    return [id, ...said];
  };

  const figure = (canvas, words, note) => XG.el("figure", {}, canvas, XG.el("figcaption", {}, words, note));

  /** The largest side of a tile for which all find room beside the facts. */
  const sideOf = (tiles) => {
    const room = Math.min(window.innerWidth - 24, 1380);
    const beside = room >= 900 ? 330 : 0;
    const across = room - beside - (room < 520 ? 0 : 56);
    const rows = beside ? XG.sets().length : 1;
    const tall = Math.max(180, (window.innerHeight - 130) / rows - 130); // so that two sets are seen at once
    return Math.max(84, Math.min(340, tall, Math.floor((across - 12 * (tiles - 1)) / tiles)));
  };

  const readout = (canvas, map, [height, width], outer, side, said) => {
    const usual = said.textContent;
    canvas.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect();
      const share = side / Math.max(...outer);
      const [x, y] = [event.clientX - box.left - (side - outer[1] * share) / 2, event.clientY - box.top - (side - outer[0] * share) / 2];
      const [column, row] = [Math.floor((x / (outer[1] * share)) * width), Math.floor((y / (outer[0] * share)) * height)];
      if (row < 0 || column < 0 || row >= height || column >= width) { said.textContent = usual; return; }
      said.textContent = `row ${row}, column ${column}: ${XG.signed(XG.restored(map.levels[row * width + column], map.end))}`;
    });
    canvas.addEventListener("pointerleave", () => { said.textContent = usual; });
  };

  const barOf = (end) => XG.el("div", { class: "bar" }, XG.colourBar(`−${XG.num(end, 3)}`, "0", `+${XG.num(end, 3)}`));

  const pictureRow = (s, i, map, picture, first) => {
    const tiles = picture ? 3 : 1;
    const side = sideOf(tiles);
    const outer = XG.outerSize(s, true);
    const scale = XG.scaleOf(s, i, true);
    const size = XG.mapSize(s, true);
    const figures = [];
    const tile = (words, draw, note) => {
      const [canvas, context] = XG.canvas(side, side);
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", words);
      draw(context);
      figures.push(figure(canvas, words, note));
      return canvas;
    };
    if (picture && first) {
      tile("Input", (context) => XG.drawPicture(context, picture, 0, 0, side, outer), XG.about.media.meanOf && ` (mean of ${XG.about.media.meanOf} channels)`);
    } else if (picture) {
      const empty = XG.el("div", { class: "no-figure" });
      empty.style.width = `${side}px`;
      figures.push(empty);
    }
    const said = XG.el("span", { class: "readout" });
    const canvas = tile("Attribution", (context) => XG.drawMap(context, map, scale, size, 0, 0, side, outer), said);
    readout(canvas, map, size, outer, side, said);
    if (picture) tile("On the input", (context) => XG.drawOverlay(context, picture, map, scale, size, 0, 0, side, outer));
    const grain = XG.about.sets[s].layer ? "for each cell of the layer, summed over channels" : size[0] * size[1] < XG.mapPixels(s) ? "sum over each pixel shown" : "per pixel, summed over channels";
    return [XG.el("div", { class: "figures" }, figures), barOf(scale), XG.el("p", { class: "hint" }, grain)];
  };

  /** The pixels of the picture itself, which what is shown may be a reduction of. */
  XG.mapPixels = (s) => XG.about.sets[s].shape.reduce((a, b) => a * b, 1);

  const setBlock = async (s, i, first, picture) => {
    const { name, run } = XG.about.sets[s];
    const map = await XG.map(s, i, true);
    const head = XG.about.sets.length > 1 ? XG.el("h3", {}, name) : null;
    const look = [];
    if (XG.about.kind === "picture") look.push(pictureRow(s, i, map, picture, first));
    if (XG.about.kind === "tokens") {
      look.push(XG.el("div", { class: "text whole" }, XG.tokenSpans(await XG.tokens(i), map, XG.scaleOf(s, i))), barOf(XG.scaleOf(s, i)));
    }
    if (XG.about.kind === "table") {
      const values = await XG.values(s, i);
      look.push(XG.el("div", { class: "features whole" }, XG.featureHead(values), XG.featureRows(map, XG.scaleOf(s, i), values, 60)),
        map.levels.length > 60 && XG.el("p", { class: "hint" }, `The largest 60 of ${map.levels.length}.`));
    }
    const again = !first && XG.about.sets[XG.setA()].run === run;
    return XG.el("section", { class: "set" }, head, XG.el("div", { class: "set-look" }, look.flat()),
      XG.el("div", { class: "set-facts" }, again ? null : await XG.topClasses(i, run, XG.sets().length > 1 ? 4 : 10), XG.sumFacts(i, s), first && XG.furtherFacts(i)));
  };

  const paint = async () => {
    const mine = ++turn;
    const i = shown;
    const at = position();
    XG.fill(parts.title, heading(i));
    parts.place.textContent = at < 0 ? "not among the examples that are shown" : `${XG.count(at + 1)} of ${XG.count(XG.order.length)}`;
    parts.before.disabled = at <= 0;
    parts.after.disabled = at < 0 || at >= XG.order.length - 1;
    try {
      const picture = XG.hasPictures() ? await XG.picture(i, true) : null;
      const blocks = await Promise.all(XG.sets().map((s, row) => setBlock(s, i, row === 0, picture)));
      if (mine === turn) XG.fill(parts.body, blocks);
    } catch (error) {
      if (mine === turn) XG.fill(parts.body, XG.el("p", { class: "missing" }, error.message));
    }
  };

  /** Open, change or close what is shown in full, as the state says. */
  XG.updateDetail = () => {
    if (!parts) make();
    const { open } = XG.state;
    const place = open === "" ? -1 : XG.placeOf(Number(open));
    if (place < 0) {
      if (dialog().open) dialog().close();
      return;
    }
    shown = place;
    paint();
    if (!dialog().open) dialog().showModal();
  };

  window.addEventListener("resize", XG.inFrame(() => { if (shown >= 0) paint(); }));
})();
