// Columns of numbers over all examples, and what follows from them.
"use strict";
(() => {
  const XG = window.captumXG;
  const KINDS = { i4: Int32Array, f4: Float32Array, f8: Float64Array, i8: BigInt64Array };
  const columns = new Map();

  /** The numbers of a column; undefined if the page has none of that name. */
  XG.column = (name) => columns.get(name);

  XG.readColumns = async (list) => {
    await Promise.all(list.map(async ({ name, type, data }) => {
      const bytes = await XG.decoded(data);
      columns.set(name, new KINDS[type](bytes.buffer));
    }));
    const labels = columns.get("label");
    if (labels.every((label) => label < 0)) columns.delete("label");
    XG.about.runs.forEach((run, r) => {
      const predictions = columns.get(`prediction.${r}`);
      if (run.outputs === 1 || !columns.has("label")) return;
      columns.set(`right.${r}`, Int8Array.from(predictions, (p, i) => (labels[i] < 0 ? -1 : Number(p === labels[i]))));
    });
    XG.about.sets.forEach((_, s) => {
      columns.set(`distance.${s}`, columns.get(`gap.${s}`).map(Math.abs));
    });
  };

  XG.className = (k) => XG.about.classes[k] ?? (k < 0 ? "–" : `class ${k}`);

  /** The place of an example by its id, or −1; ids ascend. */
  XG.placeOf = (id) => {
    const ids = columns.get("id");
    let low = 0;
    let high = ids.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ids[middle] < id) low = middle + 1;
      else high = middle;
    }
    return ids[low] === id ? low : -1;
  };

  /** The map of an example in levels from −127 to 127, and the number at its end. */
  XG.levels = (bytes) => ({
    end: new DataView(bytes.buffer, bytes.byteOffset, 8).getFloat64(0, true),
    levels: new Int8Array(bytes.buffer, bytes.byteOffset + 8, bytes.length - 8),
  });

  /** The attribution that a level stands for. */
  XG.restored = (level, end) => (end * level * Math.abs(level)) / (127 * 127);

  /** Counts of values by class, largest classes last of all: [class, count] in the order of the classes. */
  XG.counted = (name) => {
    const counts = new Map();
    for (const value of columns.get(name)) counts.set(value, (counts.get(value) ?? 0) + 1);
    return [...counts].filter(([value]) => value >= 0).sort((a, b) => a[0] - b[0]);
  };
})();
