// What the user has chosen, in the hash of the address: a link to the page is a link to what it shows.
"use strict";
(() => {
  const XG = window.captumXG;
  const plain = {
    tab: "examples", ids: "", answer: "", change: "", class: "", target: "", prediction: "", cluster: "",
    sort: "id", scale: "example", contrast: "0", size: "m", a: "0", b: "", open: "",
  };
  /** What filters nothing. */
  XG.unfiltered = { ids: "", answer: "", change: "", class: "", target: "", prediction: "", cluster: "", ranges: {} };
  const listeners = [];
  XG.state = { ...plain, ranges: {} };

  XG.onState = (listener) => listeners.push(listener);

  const read = () => {
    const given = new URLSearchParams(location.hash.slice(1));
    const state = { ...plain, b: XG.defaultB ?? "", ranges: {} };
    for (const [name, value] of given) {
      if (name.startsWith("in.")) {
        const [low, high] = value.split("..").map((text) => (text === "" ? null : Number(text)));
        if (![low, high].some((end) => end === undefined || Number.isNaN(end))) state.ranges[name.slice(3)] = [low, high];
      } else if (Object.hasOwn(plain, name)) {
        state[name] = value;
      }
    }
    return state;
  };

  const written = () => {
    const given = new URLSearchParams();
    for (const [name, value] of Object.entries(XG.state)) {
      const usual = name === "b" ? XG.defaultB ?? "" : plain[name];
      if (name !== "ranges" && value !== usual) given.set(name, value);
    }
    for (const [name, [low, high]] of Object.entries(XG.state.ranges)) given.set(`in.${name}`, `${low ?? ""}..${high ?? ""}`);
    return given.toString();
  };

  const tell = (changed) => listeners.forEach((listener) => listener(changed));

  /** Change some of the state; the address follows, without a step of the browser's history. */
  XG.set = (changes) => {
    Object.assign(XG.state, changes);
    const hash = written();
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname.split("/").pop() || ".");
    tell(Object.keys(changes));
  };

  XG.setRange = (name, low, high) => {
    const ranges = { ...XG.state.ranges, [name]: [low, high] };
    if (low === null && high === null) delete ranges[name];
    XG.set({ ranges });
  };

  /** Undo all filters; order and looks stay. */
  XG.reset = () => XG.set(XG.unfiltered);

  XG.readState = () => { XG.state = read(); };

  window.addEventListener("hashchange", () => {
    if (!XG.ready) return;
    XG.state = read();
    tell(Object.keys(XG.state));
  });
})();
