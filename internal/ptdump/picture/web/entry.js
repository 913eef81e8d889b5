// entry.js: one entry, and the way that leads to it, bit by bit.

function drawEntry(space, host, steps) {
  const s = steps[steps.length - 1], e = space.entries(s.table), c = space.info.classes[e.cls[s.index]];
  const place = space.address(s.start + s.index * s.size);
  const end = space.address(s.start + (s.index + 1) * s.size - 1) + 0xfffn;
  const parts = [make("p", { class: "what" }, make("code", {}, `${hex16(place)}–${hex16(end)}`), " ",
    make("b", {}, c ? meaning(c, e.num[s.index]) : s.table.detail === DETAIL_SUMMARY ? "left out: of this table there are only counts" : "empty"))];
  if (c?.e) parts.push(make("p", { class: "wrong" }, c.k === "problem" ? `Cannot be followed: ${c.e}` : c.n ? c.e : `No kernel writes this: ${c.e}`));
  parts.push(areaLine(space, s), wayTable(space, steps));
  if (c) parts.push(rightsLine(space, steps, c), bitsOf(space, s, c));
  host.replaceChildren(...parts.filter(Boolean));
}

// areaLine says which area the entry lies in, and what that permits.
function areaLine(space, s) {
  const first = s.start + s.index * s.size, last = first + s.size - 1;
  const inside = space.areas.filter((a) => a.first <= last && a.last >= first);
  if (inside.length > 1) return make("p", {}, `${inside.length} areas lie here.`);
  const region = space.regions.find((r) => r.first <= first && r.last >= last);
  if (!inside.length) {
    if (!region) return null;
    return make("p", {}, `Region: ${region.name}`, space.areas.length && region.name === "user" ? ", in no area." : ".");
  }
  const a = inside[0];
  return make("p", {}, "Area: ", make("code", {}, `${a.from}–${a.to} ${a.rights}`), " ", make("b", {}, a.name), " ",
    a.flags.length ? make("small", {}, `(VmFlags: ${a.flags.join(" ")})`) : null);
}

// wayTable lists the entries from the root on, as ptdump translate does.
function wayTable(space, steps) {
  const rows = steps.map((s) => {
    const e = space.entries(s.table), c = space.info.classes[e.cls[s.index]], raw = space.raw(s.table, s.index);
    const own = c ? c.r : 0;
    return make("tr", {}, make("th", { scope: "row" }, LEVELS[s.table.level]),
      ...[hex((BigInt(s.table.pfn) << 12n) + BigInt(8 * s.index)), raw === null ? "left out" : raw.toString(16).padStart(16, "0")].map((t) => make("td", {}, make("code", {}, t))),
      make("td", {}, c ? meaning(c, e.num[s.index]) : "empty"), make("td", { class: "flags" }, c ? flagsOf(space, c, raw).join(" ") : ""),
      ...RIGHTS.map((name, i) => make("td", { class: own >> i & 1 ? "yes" : "no" }, c ? (own >> i & 1 ? name : "–") : "")));
  });
  return make("div", { class: "scroll" }, make("table", { class: "way" }, make("caption", {}, "The way of the processor: what each level says"),
    make("thead", {}, make("tr", {}, ...["Level", "Entry at", "Entry", "Meaning", "Flags", "R", "W", "X", "U"].map((t) => make("th", { scope: "col" }, t)))),
    make("tbody", {}, ...rows)));
}

// rightsLine says what all levels together permit, and which level takes a right away.
function rightsLine(space, steps, c) {
  if (c.k === "table" || c.k === "problem") return null;
  const s = steps[steps.length - 1], all = rightsOf(c, s.access);
  if (!(all & 1)) return make("p", {}, "No access: the processor faults, whatever the levels above permit.");
  const why = [1, 2, 3].filter((i) => !(all >> i & 1)).map((i) => {
    const by = steps.filter((t) => { const k = space.info.classes[space.entries(t.table).cls[t.index]]; return k && !(k.r >> i & 1); });
    return `${["", "writing", "execution", "user mode"][i]} is refused by ${by.map((t) => LEVELS[t.table.level]).join(", ")}`;
  });
  return make("p", {}, "Effective rights: ", make("code", {}, rightsLabel(all)), why.length ? `; ${why.join("; ")}.` : ": nothing is refused.");
}

// bitsOf draws the 64 bits, in two rows, with the names of the fields.
function bitsOf(space, s, c) {
  const raw = space.raw(s.table, s.index);
  if (raw === null) return make("p", {}, "The frame was left out of this page (--max-size), so that the bits cannot be shown.");
  const names = space.info.forms[c.f];
  const half = (top) => make("div", { class: "bits", role: "presentation" }, ...fields(names, top, top - 31).map((f) => field(f, raw)));
  return make("div", {}, make("div", { "aria-hidden": "true" }, half(63), half(31)), fieldList(space, c, raw, names));
}

// fields joins neighbouring bits of one name, from bit `from` down to bit `to`.
function fields(names, from, to) {
  const out = [];
  for (let i = from; i >= to; i--) {
    const last = out[out.length - 1];
    if (last?.name === names[i]) last.low = i;
    else out.push({ name: names[i], high: i, low: i });
  }
  return out;
}

function field(f, raw) {
  const bits = [];
  for (let i = f.high; i >= f.low; i--) {
    const on = raw >> BigInt(i) & 1n;
    bits.push(make("span", { class: on ? "bit on" : "bit" }, make("small", {}, i), make("b", {}, on.toString())));
  }
  const wide = f.high - f.low + 1, value = VALUES.has(f.name) && f.name !== "P";
  const group = make("div", { class: value ? "field value" : "field" }, make("div", { class: "cells" }, ...bits),
    make("div", { class: wide > 2 ? "label wide" : "label" }, f.name));
  group.style.gridColumn = `span ${wide}`;
  group.firstChild.style.gridTemplateColumns = `repeat(${wide}, 1fr)`;
  return group;
}

// fieldList says in words what is set, and what the fields hold.
function fieldList(space, c, raw, names) {
  const rows = [], seen = new Set();
  names.forEach((name, i) => {
    if (seen.has(name)) return;
    const where = names.map((n, k) => n === name ? k : -1).filter((k) => k >= 0);
    let v = where.reduce((v, k, at) => v | (raw >> BigInt(k) & 1n) << BigInt(at), 0n);
    seen.add(name);
    if (name[0] === "~") v ^= 1n;
    if (!v && !["FRAME", "SLOT", "TYPE"].includes(name)) return;
    if (c.i && ["FRAME", "SLOT", "OFFSET"].includes(name)) v ^= (1n << BigInt(where.length)) - 1n;
    const high = where[where.length - 1];
    if (name === "FRAME" && c.t.includes("{pa}")) v <<= BigInt(where[0]);
    rows.push(make("tr", {}, make("td", {}, where.length > 1 ? `${high}–${where[0]}` : String(i)), make("th", { scope: "row" }, name),
      make("td", {}, make("code", {}, where.length > 1 ? hex(v) : name[0] === "~" ? "0: yes" : "1")), make("td", {}, space.info.bits[name] ?? "")));
  });
  return make("div", { class: "scroll" }, make("table", { class: "fieldlist" }, make("caption", {}, "What is set"),
    make("thead", {}, make("tr", {}, ...["Bits", "Name", "Value", "Meaning"].map((t) => make("th", { scope: "col" }, t)))), make("tbody", {}, ...rows)));
}
