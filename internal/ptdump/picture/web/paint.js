// paint.js: categories, colours, texts, and the small boxes that pictures are made of.

const LEVELS = ["", "pte", "pmd", "pud", "p4d", "pgd"];
const RIGHTS = ["r", "w", "x", "u"];

const KINDS = [
  ["present", "blue", "", ""], ["protnone", "purple", "horiz", "N"], ["swap", "orange", "diag", "S"],
  ["migration", "sky", "vert", "M"], ["marker", "yellow", "dots", "K"], ["device-private", "green", "dots", "D"],
  ["device-exclusive", "green", "grid", "E"], ["hwpoison", "red", "cross", "H"], ["swapin-error", "red", "back", "I"],
  ["unknown", "grey", "cross", "?"], ["problem", "red", "grid", "!"], ["table", "none", "", ""],
].map(([label, color, pattern, letter]) => ({ label, color, pattern, letter }));
const kindIndex = new Map(KINDS.map((k, i) => [k.label, i]));

const STATES = Array.from({ length: 16 }, (_, s) => ({
  label: [s & 1 && "accessed", s & 2 && "dirty", s & 4 && "soft-dirty", s & 8 && "uffd-wp"].filter(Boolean).join(" + ") || "none of these",
  color: ["grey", "sky", "purple", "blue"][s & 3],
  pattern: ["", "dots", "diag", "cross"][s >> 2],
  letter: [s & 4 && "s", s & 8 && "w"].filter(Boolean).join(""),
}));

const rightsLabel = (r) => RIGHTS.map((c, i) => r >> i & 1 ? c : "-").join("");
const RIGHT_SETS = Array.from({ length: 16 }, (_, r) => ({
  label: r ? rightsLabel(r) + (r & 8 ? " user" : " kernel only") : "no access",
  color: r & 1 ? ["sky", "blue", "green", "red"][r >> 1 & 3] : "grey",
  pattern: !(r & 1) ? "" : (r & 6) === 6 ? "cross" : r & 8 ? "" : "fine",
  letter: r & 1 ? (r & 8 ? ["r", "w", "x", "wx"] : ["R", "W", "X", "WX"])[r >> 1 & 3] : "",
}));

const SIZES = ["", "4K", "2M", "1G", "512G", "256T"];
const LEVEL_SETS = SIZES.map((s, l) => ({
  label: `${LEVELS[l]}, ${s}`, color: ["none", "sky", "orange", "red", "grey", "grey"][l],
  pattern: ["", "", "diag", "cross", "grid", "grid"][l], letter: ["", "", "2M", "1G", "512G", "256T"][l],
}));

const KEY_SETS = Array.from({ length: 17 }, (_, k) => ({
  label: k ? `key ${k - 1}` : "no key",
  color: k < 2 ? ["none", "grey"][k] : ["sky", "orange", "green", "purple", "blue", "yellow", "red"][(k - 2) % 7],
  pattern: ["", "diag", "dots"][Math.max(0, Math.floor((k - 2) / 7))], letter: k > 1 ? (k - 1).toString(16) : "",
}));

// The first colours tell most: pages by what may be done with them, all else by what it is.
const SUMMARY = [
  ["read", "sky", "", ""], ["read, write", "blue", "", ""], ["read, execute", "green", "diag", "x"],
  ["read, write and execute", "red", "cross", "wx"], ["present, no access", "grey", "back", "-"],
].map(([label, color, pattern, letter]) => ({ label, color, pattern, letter })).concat(KINDS);

function summaryOf(c, access) {
  if (c.k !== "present") return 5 + (kindIndex.get(c.k) ?? 9);
  const r = rightsOf(c, access);
  return r & 1 ? r >> 1 & 3 : 4;
}

// Modes say which category an entry is in, and what each looks like.
const MODES = [
  { name: "summary", title: "Summary", sets: SUMMARY, of: summaryOf },
  { name: "kind", title: "Kind", sets: KINDS, of: (c) => kindIndex.get(c.k) ?? 9 },
  { name: "rights", title: "Rights", sets: RIGHT_SETS, of: (c, access) => rightsOf(c, access) },
  { name: "level", title: "Level", sets: LEVEL_SETS, of: (c) => c.l },
  { name: "state", title: "State", sets: STATES, of: (c) => c.s },
  { name: "pkey", title: "Key", sets: KEY_SETS, of: (c) => c.p + 1 },
];

const BY_KIND = MODES[1];

// categories turns counts by class and access into [category, entries, bytes] lists, in the order of the mode.
function categories(space, mode, counts) {
  const sums = new Map();
  for (const [k, n] of counts) {
    const c = space.info.classes[k >> 3], set = mode.of(c, k & 7), sum = sums.get(set) ?? [set, 0, 0];
    sum[1] += n;
    sum[2] += n * 4096 * SLOTS ** (c.l - 1);
    sums.set(set, sum);
  }
  return [...sums.values()].sort((a, b) => a[0] - b[0]);
}

const SVG = "http://www.w3.org/2000/svg";

// make returns an element; "svg:" before the name makes it SVG. Texts become text nodes, never markup.
function make(name, attributes = {}, ...children) {
  const e = name.startsWith("svg:") ? document.createElementNS(SVG, name.slice(4)) : document.createElement(name);
  for (const [k, v] of Object.entries(attributes)) {
    if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
    else if (v !== null && v !== undefined) e.setAttribute(k, v);
  }
  e.append(...children.filter((c) => c !== null && c !== undefined));
  return e;
}

const round = (x) => Math.round(x * 100) / 100;

function rect(x, y, w, h, cls, more = {}) {
  return make("svg:rect", { x: round(x), y: round(y), width: round(Math.max(w, 0)), height: round(Math.max(h, 0)), class: cls, ...more });
}

// box paints shares of categories into a rectangle, one above the other, and returns the elements.
function box(mode, shares, x, y, w, h) {
  const out = [];
  const total = shares.reduce((s, c) => s + Math.sqrt(c[2]), 0);
  let top = y;
  for (const [set, , bytes] of shares) {
    const look = mode.sets[set], part = shares.length === 1 ? h : Math.max(2, h * Math.sqrt(bytes) / total);
    const height = Math.min(part, y + h - top);
    out.push(rect(x, top, w, height, "c-" + look.color));
    if (look.pattern && w >= 2) out.push(rect(x, top, w, height, "over", { fill: `url(#${look.pattern})` }));
    top += height;
  }
  return out;
}

const hex = (v, digits = 0) => "0x" + v.toString(16).padStart(digits, "0");
const hex16 = (v) => hex(v, 16);

function sizeText(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  let u = 0;
  while (bytes >= 1023.5 && u < units.length - 1) { bytes /= 1024; u++; }
  return `${bytes < 10 && bytes % 1 ? bytes.toFixed(1) : Math.round(bytes).toLocaleString("en")} ${units[u]}`;
}

const countText = (n, one, more = one + "s") => `${n.toLocaleString("en")} ${n === 1 ? one : more}`;

// meaning fills the number into the text of a class.
function meaning(c, num) {
  if (!/\{(pa|v)\}/.test(c.t)) return c.t;
  if (Number.isNaN(num)) return c.t.replace(/\{(pa|v)\}/, "(left out)");
  return c.t.replace("{pa}", hex(BigInt(num) << c.shift)).replace("{v}", hex(num));
}

// flagsOf names the bits that are set and no value.
const VALUES = new Set(["P", "PKEY", "FRAME", "SLOT", "OFFSET", "TYPE"]);
function flagsOf(space, c, raw) {
  if (raw === null) return [];
  return space.info.forms[c.f].filter((name, i) => raw >> BigInt(i) & 1n && !VALUES.has(name) && name[0] !== "~");
}
