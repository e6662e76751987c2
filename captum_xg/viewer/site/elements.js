// Elements and numbers: what users named becomes text nodes, never HTML.
"use strict";
window.captumXG = {};
(() => {
  const XG = window.captumXG;

  /** Make an element: attributes, properties and listeners by name, then children; texts become text nodes. */
  XG.el = (tag, given = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(given)) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name === "class") element.className = value;
      else if (name in element && typeof value !== "string") element[name] = value;
      else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  };

  XG.at = (id) => document.getElementById(id);

  /** Put children in the place of what an element holds. */
  XG.fill = (element, ...children) => element.replaceChildren(...children.flat().filter(Boolean));

  const minus = (text) => text.replaceAll("-", "−");

  /** A number with so many digits, by powers of ten where it is very small or large. */
  XG.num = (value, digits = 3) => {
    if (!Number.isFinite(value)) return "–";
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1e5 || size < 1e-3) {
      const [head, power] = value.toExponential(digits - 1).split("e");
      return minus(`${Number(head)}e${Number(power)}`);
    }
    return minus(String(Number(value.toPrecision(digits))));
  };

  XG.signed = (value, digits = 3) => (value > 0 ? "+" : "") + XG.num(value, digits);

  XG.percent = (share) => {
    if (!Number.isFinite(share)) return "–";
    const value = share * 100;
    // 99.99 % is not 100 %, and 0.01 % not 0.
    if (value > 99.9 && value < 100) return ">\u202f99.9\u202f%";
    if (value < 0.1 && value > 0) return "<\u202f0.1\u202f%";
    return `${value >= 99.95 || value < 10 ? Number(value.toFixed(1)) : value.toFixed(0)}\u202f%`;
  };

  XG.count = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, "\u202f");

  XG.many = (n, word) => `${XG.count(n)} ${word}${n === 1 ? "" : "s"}`;

  /** Call a function once in the next frame, however often it is asked for. */
  XG.inFrame = (run) => {
    let asked = 0;
    return () => {
      if (!asked) asked = requestAnimationFrame(() => { asked = 0; run(); });
    };
  };

  /** A canvas in the pixels of the screen, and its context in those of the layout. */
  XG.canvas = (width, height, canvas = document.createElement("canvas")) => {
    const ratio = Math.min(window.devicePixelRatio || 1, 3);
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const context = canvas.getContext("2d");
    context.setTransform(canvas.width / width, 0, 0, canvas.height / height, 0, 0);
    return [canvas, context];
  };
})();
