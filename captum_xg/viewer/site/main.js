// The page: opened by the index of the data, kept in step with the state.
"use strict";
(() => {
  const XG = window.captumXG;
  const TABS = ["examples", "classes", "clusters", "about"];
  const LOOKS = ["scale", "contrast", "size", "a", "b"];

  const fail = (text) => {
    XG.at("broken").textContent = text;
    XG.at("broken").hidden = false;
  };

  const showTab = () => {
    const shown = TABS.filter((tab) => !XG.at(`tab-${tab}`).hidden);
    if (!shown.includes(XG.state.tab)) XG.state.tab = "examples";
    for (const tab of TABS) {
      const on = tab === XG.state.tab;
      XG.at(`panel-${tab}`).hidden = !on;
      XG.at(`tab-${tab}`).setAttribute("aria-selected", String(on));
      XG.at(`tab-${tab}`).tabIndex = on ? 0 : -1;
    }
    const draw = { classes: XG.drawClasses, clusters: XG.drawClusters, about: XG.drawAbout }[XG.state.tab];
    draw?.();
  };

  const startTabs = () => {
    XG.at("tab-clusters").hidden = !XG.about.clusters;
    for (const tab of TABS) XG.at(`tab-${tab}`).addEventListener("click", () => XG.set({ tab }));
    XG.at("tabs").addEventListener("keydown", (event) => {
      const shown = TABS.filter((tab) => !XG.at(`tab-${tab}`).hidden);
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = shown[(shown.indexOf(XG.state.tab) + step + shown.length) % shown.length];
      XG.set({ tab: next });
      XG.at(`tab-${next}`).focus();
      event.preventDefault();
    });
  };

  const update = (changed) => {
    const only = (names) => changed.every((name) => names.includes(name));
    if (only(["open"])) { XG.updateDetail(); return; }
    if (changed.includes("a")) XG.startControls(); // other runs have other answers
    XG.select();
    XG.updateControls();
    if (changed.includes("tab") || only(LOOKS)) showTab();
    if (XG.state.tab === "examples") XG.redraw(only([...LOOKS, "open", "tab"]));
    if (changed.includes("open") || XG.at("detail").open) XG.updateDetail();
  };

  /** Called by the index of the data. */
  XG.open = async (text) => {
    try {
      XG.about = JSON.parse(text);
      XG.families([...XG.about.families, ...XG.about.sets.flatMap((set) => set.families)]);
      await XG.readColumns(XG.about.columns);
      delete XG.about.columns;
      XG.defaultB = XG.about.runs.length > 1 ? String(XG.about.sets.findIndex((set) => set.run === 1)) : "";
      document.title = XG.about.title;
      XG.at("title").textContent = XG.about.title;
      XG.at("subtitle").textContent = XG.subtitle();
      XG.readState();
      XG.startControls();
      XG.startGrid();
      startTabs();
      XG.onState(update);
      XG.onTheme(() => { XG.updateControls(); XG.redraw(true); showTab(); if (XG.at("detail").open) XG.updateDetail(); });
      XG.ready = true;
      update(["tab", "open", "sort"]);
      document.documentElement.dataset.ready = "yes";
    } catch (error) {
      fail(`This page cannot be shown: ${error.message}`);
      throw error;
    }
  };

  window.addEventListener("DOMContentLoaded", () => {
    if (!XG.about && XG.at("broken").hidden) fail("The data of this page are missing: its folder must be copied as a whole, with data and viewer beside index.html.");
  });
})();
