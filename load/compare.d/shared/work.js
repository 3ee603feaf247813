// What the JavaScript servers share: load/apps/payload.lua and work.lua once more.
"use strict";

const COLOURS = ["blue", "pink", "grey", "gold"];

function items(count) {
  const list = [];
  for (let i = 1; i <= count; i++)
    list.push({ id: 1000 + i, name: `item ${1000 + i}`, stock: 10 + (i % 90), tags: ["new", COLOURS[i % 4]] });
  return { items: list };
}

function burn(turns) {
  let x = 1;
  for (let i = 1; i <= turns; i++) x = (x * 31 + i) % 4294967296;
  return { turns, x };
}

const nobody = new Int32Array(new SharedArrayBuffer(4));

// Blocks the thread: nobody will ever wake it, so the time runs out.
function block(ms) {
  Atomics.wait(nobody, 0, 0, ms);
  return { blocked_ms: ms };
}

module.exports = { items, burn, block, ITEMS_64K: 1024, BLOCK_MS: 100 };
