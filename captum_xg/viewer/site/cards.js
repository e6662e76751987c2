// One example among others: what it is, what the model says, and why.
"use strict";
(() => {
  const XG = window.captumXG;
  const SIDES = { s: 64, m: 104, l: 176 };
  const GAP = 6;
  const CAPTION = 46;
  const PADDING = 10;
  let last = null; // the size that cards have

  /** Cards that fill a width with some gap between them: how many beside each other, their size, the side of a tile. */
  XG.cardSize = (room, gap) => {
    const sets = XG.sets().length;
    const size = XG.state.size in SIDES ? XG.state.size : "m";
    const tiles = XG.hasPictures() ? 3 : 1;
    const picture = XG.about.kind === "picture";
    const wanted = picture ? tiles * SIDES[size] + (tiles - 1) * GAP + 2 * PADDING : { s: 300, m: 400, l: 600 }[size];
    const columns = Math.max(1, Math.round((room + gap) / (wanted + gap)));
    const width = Math.floor((room - (columns - 1) * gap) / columns);
    if (!picture) {
      const tall = { s: 76, m: 120, l: 208 }[size];
      return last = { columns, width, height: CAPTION + sets * (tall + (sets > 1 ? 22 : 0)) + 2 * PADDING, tall };
    }
    const side = Math.floor((width - 2 * PADDING - (tiles - 1) * GAP) / tiles);
    return last = { columns, width, height: CAPTION + sets * side + (sets - 1) * GAP + 2 * PADDING, side };
  };

  /** What a model says to an example and whether that is right. */
  XG.verdict = (i, run) => {
    const label = XG.column("label")?.[i];
    const prediction = XG.column(`prediction.${run}`)[i];
    const confidence = XG.column(`confidence.${run}`)?.[i];
    const right = XG.column(`right.${run}`)?.[i];
    return { label, prediction, confidence, right };
  };

  const mark = (right) => right === 1 || right === 0
    ? XG.el("span", { class: right ? "mark right" : "mark wrong", "aria-hidden": "true" }, right ? "✓" : "✗") : null;

  XG.mark = mark;

  const spoken = (i) => {
    const { label, prediction, confidence, right } = XG.verdict(i, XG.about.sets[XG.setA()].run);
    const parts = [`Example ${XG.column("id")[i]}`];
    if (label >= 0) parts.push(`class ${XG.className(label)}`);
    if (prediction >= 0) parts.push(`predicted ${XG.className(prediction)}${confidence === undefined ? "" : `, ${XG.percent(confidence)}`}`);
    if (right === 0 || right === 1) parts.push(right ? "right" : "wrong");
    return parts.join(", ");
  };

  /** An empty card, to be filled with one example after another. */
  XG.newCard = () => {
    const body = XG.el("div", { class: "card-body", "aria-hidden": "true" });
    const id = XG.el("span", { class: "card-id" });
    const said = XG.el("span", { class: "card-said" });
    const more = XG.el("span", { class: "card-more" });
    const caption = XG.el("span", { class: "card-caption", "aria-hidden": "true" }, XG.el("span", { class: "card-line" }, said, id), more);
    const button = XG.el("button", { class: "card", type: "button", tabindex: "-1" }, body, caption);
    const item = XG.el("div", { class: "item", role: "listitem" }, button);
    return { item, button, body, id, said, more, i: -1, turn: 0 };
  };

  const moreOf = (i) => {
    const key = XG.state.sort.replace("-", "");
    const found = XG.sortable().find(([each]) => each === key);
    const s = XG.setA();
    const scale = XG.state.scale === "page" ? "" : `scale ±${XG.num(XG.scaleOf(s, i), 2)}`;
    const usual = ["id", "label", "prediction", "confidence", "cluster"].includes(key);
    const sorted = !found || usual ? `sum ${XG.signed(XG.column(`sum.${s}`)[i])}` : `${found[1].split(" (")[0]} ${XG.num(XG.column(found[2])[i])}`;
    return [sorted, scale].filter(Boolean).join("  ·  ");
  };

  const verdictLine = ({ label, prediction, confidence, right }) => {
    const known = label >= 0;
    if (!(prediction >= 0)) return known ? [XG.className(label)] : [];
    const share = confidence === undefined ? "" : ` ${XG.percent(confidence)}`;
    if (right === 1) return [mark(1), XG.el("b", {}, XG.className(label)), share];
    return [mark(right), known && XG.className(label), known && " → ", XG.el("b", {}, XG.className(prediction)), share];
  };

  /** Show an example on a card; what is not here yet comes later, unless the card has another example by then. */
  XG.fillCard = async (card, i, position) => {
    card.i = i;
    const turn = ++card.turn;
    card.item.setAttribute("aria-posinset", position + 1);
    card.item.setAttribute("aria-setsize", XG.order.length);
    card.button.setAttribute("aria-label", spoken(i));
    card.button.dataset.id = XG.column("id")[i];
    card.id.textContent = `#${XG.column("id")[i]}`;
    XG.fill(card.said, verdictLine(XG.verdict(i, XG.about.sets[XG.setA()].run)));
    card.more.textContent = moreOf(i);
    card.button.classList.remove("failed");
    card.button.classList.add("waiting"); // or the picture of another example would stand above these words
    try {
      const paint = { picture: paintPictures, tokens: paintTokens, table: paintBars }[XG.about.kind];
      await paint(card, i, () => card.turn === turn);
      if (card.turn === turn) card.button.classList.remove("waiting");
    } catch (error) {
      if (card.turn !== turn) return;
      card.button.classList.replace("waiting", "failed");
      XG.fill(card.body, XG.el("span", { class: "missing" }, error.message));
    }
  };

  const paintPictures = async (card, i, wanted) => {
    const sets = XG.sets();
    const large = XG.state.size === "l";
    const waiting = [XG.hasPictures() ? XG.picture(i, large) : null, ...sets.map((s) => XG.map(s, i, large))];
    const { side, ...size } = last;
    const width = size.width - 2 * PADDING;
    const height = size.height - 2 * PADDING - CAPTION;
    const [picture, ...maps] = await Promise.all(waiting);
    if (!wanted()) return;
    let canvas = card.body.firstElementChild;
    if (!(canvas instanceof HTMLCanvasElement) || card.body.childElementCount > 1) canvas = document.createElement("canvas");
    const [, context] = XG.canvas(width, height, canvas);
    sets.forEach((s, row) => {
      const y = row * (side + GAP);
      const outer = XG.outerSize(s, large);
      const scale = XG.scaleOf(s, i, large);
      let x = 0;
      if (picture) {
        if (row === 0) XG.drawPicture(context, picture, 0, 0, side, outer);
        x = side + GAP;
      }
      XG.drawMap(context, maps[row], scale, XG.mapSize(s, large), x, y, side, outer);
      if (sets.length > 1) XG.drawNumber(context, row + 1, x, y);
      if (picture) XG.drawOverlay(context, picture, maps[row], scale, XG.mapSize(s, large), 2 * (side + GAP), y, side, outer);
    });
    const notes = picture && sets.length > 1 ? besideNote(i, sets, side) : null;
    if (card.body.firstElementChild !== canvas || notes || card.body.childElementCount > 1) XG.fill(card.body, canvas, notes);
  };

  /** What the second of two runs says, in the place below the picture. */
  const besideNote = (i, [a, b], side) => {
    const [first, second] = [a, b].map((s) => XG.about.sets[s].run);
    const line = (number, s, run) => {
      const said = first === second ? null : XG.verdict(i, run);
      return [
        XG.el("span", { class: "dim" }, XG.el("span", { class: "number" }, number), XG.about.sets[s].name),
        said && said.prediction >= 0 && XG.el("span", {}, mark(said.right), XG.className(said.prediction), said.confidence === undefined ? null : ` ${XG.percent(said.confidence)}`),
      ];
    };
    const lines = [...line("1", a, first), ...line("2", b, second)].filter(Boolean);
    const note = XG.el("div", { class: "beside" }, lines);
    note.style.width = note.style.height = `${side}px`;
    return note;
  };

  const heads = (s) => (XG.sets().length > 1 ? XG.el("div", { class: "set-name" }, XG.about.sets[s].name) : null);

  const paintTokens = async (card, i, wanted) => {
    const sets = XG.sets();
    const [ids, ...maps] = await Promise.all([XG.tokens(i), ...sets.map((s) => XG.map(s, i))]);
    if (!wanted()) return;
    const room = last.tall;
    XG.fill(card.body, sets.map((s, row) => {
      const text = XG.el("div", { class: "text" }, XG.tokenSpans(ids, maps[row], XG.scaleOf(s, i), 120));
      text.style.height = `${room}px`;
      return [heads(s), text];
    }).flat());
  };

  const paintBars = async (card, i, wanted) => {
    const sets = XG.sets();
    const [values, picture, ...maps] = await Promise.all([
      XG.values(sets[0], i), XG.hasPictures() ? XG.picture(i) : null, ...sets.map((s) => XG.map(s, i)),
    ]);
    if (!wanted()) return;
    const room = last.tall;
    XG.fill(card.body, sets.map((s, row) => {
      const bars = XG.el("div", { class: "features" }, XG.featureRows(maps[row], XG.scaleOf(s, i), XG.about.sets[s].layer ? null : values, Math.floor(room / 18)));
      bars.style.height = `${room}px`;
      if (!picture) return [heads(s), bars];
      const [canvas, context] = XG.canvas(room, room);
      XG.drawPicture(context, picture, 0, 0, room, XG.about.media.size);
      return [heads(s), XG.el("div", { class: "with-picture" }, canvas, bars)];
    }).flat());
  };
})();
