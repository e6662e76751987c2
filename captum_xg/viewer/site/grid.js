// The examples that are seen, as cards; those further up and down are not in the document.
"use strict";
(() => {
  const XG = window.captumXG;
  const GAP = 12;
  const SPARE = 2; // rows above and below what is seen
  const cards = new Map(); // position → card
  let spare = [];
  let columns = 1;
  let size = { width: 1, height: 1 };
  let focused = 0;

  const scroller = () => XG.at("scroller");
  const rowHeight = () => size.height + GAP;

  const measure = () => {
    size = XG.cardSize(scroller().clientWidth - 2 * GAP, GAP);
    columns = size.columns;
    XG.at("grid").style.height = `${Math.ceil(XG.order.length / columns) * rowHeight() + GAP}px`;
  };

  const place = (card, position) => {
    const left = GAP + (position % columns) * (size.width + GAP);
    const top = GAP / 2 + Math.floor(position / columns) * rowHeight();
    Object.assign(card.item.style, { transform: `translate(${left}px, ${top}px)`, width: `${size.width}px`, height: `${size.height}px` });
  };

  const show = (position) => {
    const card = spare.pop() ?? XG.newCard();
    cards.set(position, card);
    card.position = position;
    card.button.tabIndex = position === focused ? 0 : -1;
    place(card, position);
    XG.at("grid").append(card.item);
    XG.fillCard(card, XG.order[position], position);
  };

  const draw = () => {
    const { scrollTop, clientHeight } = scroller();
    const first = Math.max(0, Math.floor(scrollTop / rowHeight()) - SPARE) * columns;
    const last = Math.min(XG.order.length, (Math.ceil((scrollTop + clientHeight) / rowHeight()) + SPARE) * columns);
    for (const [position, card] of cards) {
      if (position >= first && position < last) continue;
      if (position === focused && card.button === document.activeElement) continue; // or the focus would be lost
      cards.delete(position);
      card.turn++;
      card.item.remove();
      if (spare.length < 60) spare.push(card);
    }
    for (let position = first; position < last; position++) if (!cards.has(position)) show(position);
  };
  const drawSoon = XG.inFrame(draw);

  /** Show the chosen examples anew, from the top unless the place is to be kept. */
  XG.redraw = (keep = false) => {
    const anchor = keep ? Math.floor(scroller().scrollTop / rowHeight()) * columns : 0;
    for (const card of cards.values()) {
      card.turn++;
      card.item.remove();
      spare.push(card);
    }
    cards.clear();
    focused = Math.min(keep ? focused : 0, Math.max(0, XG.order.length - 1));
    measure();
    scroller().scrollTop = Math.floor(anchor / columns) * rowHeight();
    XG.at("nothing").hidden = XG.order.length > 0;
    draw();
  };

  /** Bring an example into view and give it the focus. */
  XG.focusOn = (position) => {
    if (!XG.order.length) return;
    const before = cards.get(focused);
    if (before) before.button.tabIndex = -1;
    focused = Math.max(0, Math.min(XG.order.length - 1, position));
    const top = Math.floor(focused / columns) * rowHeight();
    const box = scroller();
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + rowHeight() > box.scrollTop + box.clientHeight) box.scrollTop = top + rowHeight() + GAP - box.clientHeight;
    draw();
    const card = cards.get(focused);
    card.button.tabIndex = 0;
    card.button.focus({ preventScroll: true });
  };

  const page = () => Math.max(1, Math.floor(scroller().clientHeight / rowHeight())) * columns;

  const STEPS = {
    ArrowLeft: () => focused - 1, ArrowRight: () => focused + 1,
    ArrowUp: () => (focused >= columns ? focused - columns : focused),
    ArrowDown: () => (focused + columns < XG.order.length ? focused + columns : focused),
    Home: () => 0, End: () => XG.order.length - 1, PageUp: () => focused - page(), PageDown: () => focused + page(),
  };

  XG.startGrid = () => {
    const grid = XG.at("grid");
    scroller().addEventListener("scroll", drawSoon, { passive: true });
    new ResizeObserver(XG.inFrame(() => {
      if (scroller().clientWidth) XG.redraw(true);
    })).observe(scroller());
    grid.addEventListener("keydown", (event) => {
      const step = event.ctrlKey || event.metaKey || event.altKey ? undefined : STEPS[event.key];
      if (!step) return;
      event.preventDefault();
      XG.focusOn(step());
    });
    grid.addEventListener("click", (event) => {
      const button = event.target.closest(".card");
      if (button) XG.set({ open: button.dataset.id });
    });
    grid.addEventListener("focusin", (event) => {
      const card = [...cards.values()].find((each) => each.button === event.target);
      if (!card) return;
      const before = cards.get(focused);
      if (before) before.button.tabIndex = -1;
      focused = card.position;
      card.button.tabIndex = 0;
    });
  };
})();
