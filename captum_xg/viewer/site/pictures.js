// Pictures, maps and maps on pictures, painted on canvases.
"use strict";
(() => {
  const XG = window.captumXG;
  const sheets = new Map();

  /** A canvas of the size of a map, which is used again and again. */
  const sheet = (name, width, height) => {
    let found = sheets.get(name);
    if (!found) {
      found = document.createElement("canvas");
      sheets.set(name, found);
    }
    if (found.width !== width || found.height !== height) [found.width, found.height] = [width, height];
    return found;
  };

  const coloured = (levels, [height, width], table, name) => {
    const canvas = sheet(name, width, height);
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    for (let i = 0; i < levels.length; i++) pixels[i] = table[levels[i] + 127];
    context.putImageData(image, 0, 0);
    return canvas;
  };

  const unpacked = (bytes, [height, width], channels) => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    const image = canvas.getContext("2d").createImageData(width, height);
    const data = image.data;
    for (let i = 0; i < width * height; i++) {
      for (let k = 0; k < 3; k++) data[4 * i + k] = bytes[i * channels + (channels === 3 ? k : 0)];
      data[4 * i + 3] = 255;
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  };

  const kept = new Map(); // decoded pictures, the last ones that were shown

  /** Whether there are pictures, and in a larger size. */
  XG.hasPictures = () => XG.about.media.kind === "picture";
  XG.pictureFamily = (large) => (large && XG.about.media.large ? "largePictures" : "pictures");

  /** The picture of an example, as something that can be drawn; undefined as long as it is not here. */
  XG.pictureHere = (i, large) => kept.get(`${XG.pictureFamily(large)}.${i}`);

  XG.picture = async (i, large = false) => {
    const family = XG.pictureFamily(large);
    const key = `${family}.${i}`;
    if (kept.has(key)) return kept.get(key);
    const bytes = await XG.bytes(family, i);
    const { media } = XG.about;
    const big = family === "largePictures";
    const raw = big ? media.largeRaw : media.raw;
    const picture = raw
      ? unpacked(bytes, big ? media.large : media.small, media.channels)
      : await createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
    kept.set(key, picture);
    if (kept.size > 600) kept.delete(kept.keys().next().value);
    return picture;
  };

  /** Where something of a size lies within a square, as large as it can be. */
  const within = ([height, width], x, y, side) => {
    const share = side / Math.max(height, width);
    return [x + (side - width * share) / 2, y + (side - height * share) / 2, width * share, height * share];
  };

  XG.drawPicture = (context, picture, x, y, side, size) => {
    context.imageSmoothingEnabled = picture.width > 64;
    context.imageSmoothingQuality = "high";
    context.drawImage(picture, ...within(size, x, y, side));
  };

  XG.drawMap = (context, map, scale, size, x, y, side, outer = size) => {
    const drawn = coloured(map.levels, size, XG.palette(map.end, scale, false), "map");
    context.imageSmoothingEnabled = false;
    context.drawImage(drawn, ...within(outer, x, y, side));
  };

  /** A pale grey picture with the attributions on it. */
  XG.drawOverlay = (context, picture, map, scale, size, x, y, side, outer) => {
    const box = within(outer, x, y, side);
    context.save();
    context.filter = "grayscale(1)";
    context.imageSmoothingEnabled = picture.width > 64;
    context.drawImage(picture, ...box);
    context.filter = "none";
    context.fillStyle = XG.isDark() ? "rgb(18 20 24 / 55%)" : "rgb(255 255 255 / 55%)";
    context.fillRect(...box);
    const drawn = coloured(map.levels, size, XG.palette(map.end, scale, true), "over");
    context.imageSmoothingEnabled = false;
    context.drawImage(drawn, ...box);
    context.restore();
  };

  /** A small number in the corner of a tile. */
  XG.drawNumber = (context, number, x, y) => {
    context.save();
    context.fillStyle = XG.isDark() ? "#e7e8ea" : "#3f4a5a";
    context.beginPath();
    context.arc(x + 10, y + 10, 7, 0, 2 * Math.PI);
    context.fill();
    context.fillStyle = XG.isDark() ? "#14171b" : "#ffffff";
    context.font = "bold 10px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(String(number), x + 10, y + 10.5);
    context.restore();
  };

  /** The size of what is drawn in a tile: that of the picture, or of the map where there is none. */
  XG.outerSize = (s, large = false) => {
    const { media, sets } = XG.about;
    if (media.kind === "picture") return media.size;
    return (large && sets[s].large) || sets[s].small;
  };

  /** The map of an example. */
  XG.mapFamily = (s, large) => (large && XG.about.sets[s].large ? `large${s}` : `maps${s}`);
  XG.mapSize = (s, large) => (large && XG.about.sets[s].large) || XG.about.sets[s].small;
  XG.map = async (s, i, large = false) => XG.levels(await XG.bytes(XG.mapFamily(s, large), i));
})();
