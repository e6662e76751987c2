// Chunks of the data: loaded by script tags when they are needed, as a page from disk may not fetch files.
"use strict";
(() => {
  const XG = window.captumXG;
  const MOST = 192 * 2 ** 20; // bytes of unpacked chunks that are kept
  const families = new Map();
  const chunks = new Map(); // "family.number" → {promise, bytes, size}; in the order of their last use
  const waiting = new Map();
  let held = 0;

  XG.families = (list) => list.forEach((family) => families.set(family.name, family));
  XG.hasFamily = (name) => families.has(name);

  const fromText = (text) => {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
    const plain = atob(text);
    const bytes = new Uint8Array(plain.length);
    for (let i = 0; i < plain.length; i++) bytes[i] = plain.charCodeAt(i);
    return bytes;
  };

  /** The bytes of a base64 text, inflated if they were packed. */
  XG.decoded = async (text, packed = true) => {
    const bytes = fromText(text);
    if (!packed) return bytes;
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };

  /** Called by the scripts of the data. */
  XG.chunk = (family, number, text) => {
    const key = `${family}.${number}`;
    waiting.get(key)?.(text);
    waiting.delete(key);
  };

  const load = (family, number) => new Promise((resolve, reject) => {
    const script = document.createElement("script");
    waiting.set(`${family}.${number}`, resolve);
    script.src = `data/${family}.${String(number).padStart(5, "0")}.js`;
    script.onload = () => script.remove();
    script.onerror = () => {
      script.remove();
      reject(new Error(`${script.getAttribute("src")} is missing`));
    };
    document.head.append(script);
  });

  const drop = () => {
    for (const [key, chunk] of chunks) {
      if (held <= MOST || chunks.size <= 8) return;
      if (!chunk.bytes) continue;
      chunks.delete(key);
      held -= chunk.bytes.length;
    }
  };

  const chunkOf = (name, number) => {
    const key = `${name}.${number}`;
    let chunk = chunks.get(key);
    if (chunk) {
      chunks.delete(key); // to the end, as the last that was used
    } else {
      const family = families.get(name);
      chunk = {};
      chunk.promise = load(name, number).then((text) => XG.decoded(text, family.packed)).then((bytes) => {
        chunk.bytes = bytes;
        held += bytes.length;
        drop();
        return bytes;
      });
      chunk.promise.catch(() => chunks.delete(key)); // the next one who asks tries again
    }
    chunks.set(key, chunk);
    return chunk;
  };

  const part = (bytes, row, count) => {
    const offsets = new Uint32Array(bytes.buffer, bytes.byteOffset, count + 1);
    const start = bytes.byteOffset + 4 * (count + 1);
    return new Uint8Array(bytes.buffer, start + offsets[row], offsets[row + 1] - offsets[row]);
  };

  const placeOf = (name, i) => {
    const { per } = families.get(name);
    const number = Math.floor(i / per);
    return [number, i - number * per, Math.min(per, XG.about.examples - number * per)];
  };

  /** The bytes of an example if they are here, else undefined. */
  XG.here = (name, i) => {
    const [number, row, count] = placeOf(name, i);
    const bytes = chunks.get(`${name}.${number}`)?.bytes;
    return bytes && part(bytes, row, count);
  };

  /** The bytes of an example, once they are here. */
  XG.bytes = async (name, i) => {
    const [number, row, count] = placeOf(name, i);
    return part(await chunkOf(name, number).promise, row, count);
  };

  /** Numbers of a type from bytes that may lie anywhere. */
  XG.numbers = (Kind, bytes, from = 0, count = (bytes.length - from) / Kind.BYTES_PER_ELEMENT) => {
    const start = bytes.byteOffset + from;
    return new Kind(bytes.buffer.slice(start, start + count * Kind.BYTES_PER_ELEMENT));
  };
})();
