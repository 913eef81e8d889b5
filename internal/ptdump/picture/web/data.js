"use strict";
// data.js: what is in the page, and the way through it. Addresses are counted in 4 KiB pages of the space, which fits a
// number; as addresses they are BigInt.

const SLOTS = 512;

async function unpack(text) {
  const packed = Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Numbers reads varints. They may have 53 bits.
class Numbers {
  constructor(bytes, at = 0) { this.bytes = bytes; this.at = at; }
  next() {
    let v = 0, unit = 1, b;
    do {
      b = this.bytes[this.at++];
      v += (b & 127) * unit;
      unit *= 128;
    } while (b > 127);
    return v;
  }
  signed() {
    const v = this.next();
    return v % 2 ? -(v + 1) / 2 : v / 2;
  }
}

const DETAIL_ALL = 0, DETAIL_SUMMARY = 2;

class Space {
  constructor(bytes) {
    const head = new Numbers(bytes);
    const size = head.next();
    this.info = JSON.parse(new TextDecoder().decode(bytes.subarray(head.at, head.at + size)));
    this.root = this.info.levels === 5 ? 5 : 4;
    this.pages = 2 ** (this.info.signBit + 1 - 12);
    for (const c of this.info.classes) {
      c.base = BigInt("0x" + c.b);
      c.mask = BigInt("0x" + c.m);
      c.shift = 0n;
      while (c.mask && !(c.mask >> c.shift & 1n)) c.shift++;
      c.unit = c.mask ? 2 ** (Number(c.shift) - 12) : 0; // pages in one step of the number
    }
    this.readTables(new Numbers(bytes, head.at + size));
    this.opened = new Map();
    this.counted = new Map();
  }

  readTables(r) {
    this.tables = [];
    this.byKey = new Map();
    for (let n = r.next(); n > 0; n--) {
      const level = r.next();
      const t = {
        id: this.tables.length, level: level & 7, upper: level >> 3 & 1, detail: level >> 4,
        pfn: r.next(), visits: r.next(), shape: r.next(), values: r.next(),
      };
      this.tables.push(t);
      this.byKey.set(keyOf(t.pfn, t.level, t.upper), t);
    }
    this.bytes = r.bytes;
    let at = r.at;
    for (const t of this.tables) [t.shape, at] = [at, at + t.shape];
    for (const t of this.tables) [t.values, at] = [at, at + t.values];
  }

  // runs calls use(gap, count, class) for each run of a table.
  runs(t, use) {
    const r = new Numbers(this.bytes, t.shape);
    for (let n = r.next(); n > 0; n--) use(r.next(), r.next(), r.next());
  }

  // entries returns the slots of a table: class (-1: empty), number (NaN: left out), and all bits where they are stored.
  entries(t) {
    let e = this.opened.get(t.id);
    if (e) return e;
    e = { cls: new Int32Array(SLOTS).fill(-1), num: new Float64Array(SLOTS).fill(NaN), whole: null };
    if (t.detail !== DETAIL_SUMMARY) this.fill(t, e);
    if (this.opened.size > 400) this.opened.clear();
    this.opened.set(t.id, e);
    return e;
  }

  fill(t, e) {
    const v = new Numbers(this.bytes, t.values);
    let at = 0, follow = 0;
    this.runs(t, (gap, count, id) => {
      const c = this.info.classes[id];
      at += gap;
      e.cls.fill(id, at, at + count);
      const end = at + count;
      if (t.detail !== DETAIL_ALL || (!c.y && !c.mask)) {
        at = end;
      } else if (c.y) {
        e.whole ??= new BigUint64Array(SLOTS);
        for (; at < end; at++) {
          e.whole[at] = BigInt(v.next()) << 32n | BigInt(v.next());
          e.num[at] = numberIn(c, e.whole[at]);
        }
      } else {
        while (at < end) {
          let n = v.next(), x = follow + v.signed();
          follow = x + n;
          while (n-- > 0) e.num[at++] = x++;
        }
      }
    });
  }

  // raw returns the 64 bits of a slot, null if they are not in the page.
  raw(t, i) {
    const e = this.entries(t), c = this.info.classes[e.cls[i]];
    if (!c) return 0n;
    if (e.whole?.[i]) return e.whole[i];
    if (!c.mask) return c.base;
    if (Number.isNaN(e.num[i])) return null;
    let v = BigInt(e.num[i]) << c.shift;
    if (c.i) v = ~v;
    return c.base | v & c.mask;
  }

  // child returns the table that a slot leads to, null if it leads to none.
  child(t, i) {
    const e = this.entries(t), c = this.info.classes[e.cls[i]];
    if (c?.k !== "table") return null;
    const upper = t.level === this.root ? Number(i >= SLOTS / 2) : t.upper;
    return this.byKey.get(keyOf(e.num[i] * c.unit, t.level - 1, upper)) ?? null;
  }

  // count returns how many entries there are below a table, by class and by what the levels above permit: a Map of
  // 8 * class + access to a number.
  count(t, access) {
    const key = 8 * t.id + access;
    let sum = this.counted.get(key);
    if (sum) return sum;
    this.counted.set(key, sum = new Map());
    if (t.level === 1) {
      this.runs(t, (_, n, id) => add(sum, 8 * id + access, n));
      return sum;
    }
    const e = this.entries(t);
    for (let i = 0; i < SLOTS; i++) this.countSlot(t, e, i, access, sum);
    return sum;
  }

  countSlot(t, e, i, access, sum) {
    if (e.cls[i] < 0) return;
    const below = this.child(t, i);
    if (!below) return add(sum, 8 * e.cls[i] + access, 1);
    for (const [k, n] of this.count(below, access & accessOf(this.info.classes[e.cls[i]]))) add(sum, k, n);
  }

  // countRange is count for the pages from first to last.
  countRange(first, last, t = this.tables[0], start = 0, access = 7, sum = new Map()) {
    const size = SLOTS ** (t.level - 1), e = this.entries(t);
    const from = Math.max(0, Math.floor((first - start) / size)), to = Math.min(SLOTS - 1, Math.floor((last - start) / size));
    if (t.detail === DETAIL_SUMMARY) {
      for (const [k, n] of this.count(t, access)) add(sum, k, n);
      return sum;
    }
    for (let i = from; i <= to; i++) {
      const at = start + i * size, below = this.child(t, i);
      if (below && (at < first || at + size - 1 > last)) {
        this.countRange(first, last, below, at, access & accessOf(this.info.classes[e.cls[i]]), sum);
      } else {
        this.countSlot(t, e, i, access, sum);
      }
    }
    return sum;
  }

  // walk returns the tables on the way to a page, depth of them at most: each with its first page, the slot, and what the
  // levels above permit.
  walk(page, depth = 9) {
    const steps = [];
    let t = this.tables[0], start = 0, access = 7;
    while (t && steps.length < depth && !steps.some((s) => s.table.pfn === t.pfn)) {
      const size = SLOTS ** (t.level - 1), index = Math.floor((page - start) / size), e = this.entries(t);
      steps.push({ table: t, start, size, index, access, cls: e.cls[index] });
      start += index * size;
      if (e.cls[index] >= 0) access &= accessOf(this.info.classes[e.cls[index]]);
      t = this.child(t, index);
    }
    return steps;
  }

  // find returns the page of the first entry, from page on (or before it, if back), for which is(class, access) holds.
  find(is, page, back = false, t = this.tables[0], start = 0, access = 7) {
    const size = SLOTS ** (t.level - 1), e = this.entries(t), step = back ? -1 : 1;
    let i = Math.floor((page - start) / size);
    for (i = back ? Math.min(i, SLOTS - 1) : Math.max(i, 0); i >= 0 && i < SLOTS; i += step) {
      const id = e.cls[i], below = id < 0 ? null : this.child(t, i), at = start + i * size;
      if (below) {
        const allowed = access & accessOf(this.info.classes[id]);
        if (![...this.count(below, allowed).keys()].some((k) => is(k >> 3, k & 7))) continue;
        if (below.detail === DETAIL_SUMMARY) return at;
        const found = this.find(is, page, back, below, at, allowed);
        if (found !== null) return found;
      } else if (id >= 0 && (back ? at <= page : at >= page) && is(id, access)) {
        return at;
      }
    }
    return null;
  }

  // address returns the address of a page, with the sign bit copied upwards.
  address(page) {
    const a = BigInt(page) << 12n, sign = BigInt(this.info.signBit);
    return BigInt.asUintN(64, BigInt.asIntN(Number(sign) + 1, a));
  }

  // pageOf is the inverse of address, null for an address that is not canonical.
  pageOf(address) {
    const a = BigInt.asUintN(this.info.signBit + 1, address);
    const page = Number(a >> 12n);
    return this.address(page) === address >> 12n << 12n ? page : null;
  }
}

const keyOf = (pfn, level, upper) => `${pfn}:${level}:${upper}`;
const add = (map, key, n) => { map.set(key, (map.get(key) ?? 0) + n); };

// Access is what the entries down to a place permit: 1 write, 2 execute, 4 user.
const accessOf = (c) => c.r >> 1;

// rightsOf returns effective rights: 1 read, 2 write, 4 execute, 8 user.
const rightsOf = (c, access) => c.r & 1 ? c.r & (access << 1 | 1) : 0;

function numberIn(c, raw) {
  return c.mask ? Number(((c.i ? ~raw : raw) & c.mask) >> c.shift) : NaN;
}
