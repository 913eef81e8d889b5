// walk.js: the tables from the root to the selected entry, one below the other. Each is drawn to scale as a band of 512 slots;
// the last one as a sheet, whose cells are large enough to be read.

const BAND = 24, TRACK = 13, ZOOM = 20;

class Walk {
  constructor(space, host, go, say) { Object.assign(this, { space, host, go, say }); }

  draw(mode, steps, page) {
    this.mode = mode;
    this.width = Math.max(240, this.host.clientWidth);
    const key = [mode.name, this.width, ...steps.map((s, i) => i < steps.length - 1 ? `${s.table.id}.${s.index}` : s.table.id)].join(" ");
    if (this.drawn === key) return this.moveCursor(steps[steps.length - 1]);
    this.drawn = key;
    const parts = [];
    steps.forEach((s, i) => {
      const last = i === steps.length - 1;
      parts.push(this.head(s, i), last ? this.sheet(s, i) : this.band(s, i));
      if (!last) parts.push(this.zoom(s));
    });
    this.host.replaceChildren(...parts);
  }

  // moveCursor selects another cell of the sheet that is there.
  moveCursor(s) {
    const svg = this.host.querySelector("#sheet"), g = this.grid;
    svg.querySelector("[aria-selected=true]")?.setAttribute("aria-selected", false);
    svg.querySelector(`#s${s.index}`)?.setAttribute("aria-selected", true);
    svg.setAttribute("aria-activedescendant", `s${s.index}`);
    g.lit.setAttribute("x", round(g.margin + s.index % g.cols * g.w - 1));
    g.lit.setAttribute("y", round(Math.floor(s.index / g.cols) * g.h - 1));
  }

  head(s, depth) {
    const t = s.table, used = this.used(t), of = [
      `table at ${hex(BigInt(t.pfn) << 12n)}`, `a slot is ${sizeText(s.size * 4096)}`, used,
      t.visits > 1 ? `${countText(t.visits, "entry", "entries")} lead here` : null,
      t.detail === DETAIL_SUMMARY ? "counts only, its entries were left out" : t.detail ? "frames and swap slots were left out" : null,
    ].filter(Boolean);
    return make("p", { class: "level-head" }, make("b", {}, depth ? LEVELS[t.level] : `${LEVELS[t.level]} (root)`), " ", of.join(" · "));
  }

  used(t) {
    if (t.detail === DETAIL_SUMMARY) return countText([...this.space.count(t, 7).values()].reduce((a, b) => a + b, 0), "entry", "entries");
    const n = this.space.entries(t).cls.reduce((n, c) => n + (c >= 0), 0);
    return `${n} of 512 used`;
  }

  // shares of a slot, null if it is empty; and whether a table is there.
  slot(s, i) {
    const e = this.space.entries(s.table);
    if (e.cls[i] < 0) return null;
    const below = this.space.child(s.table, i), sum = new Map();
    this.space.countSlot(s.table, e, i, s.access, sum);
    return { shares: categories(this.space, this.mode, sum), below };
  }

  band(s, depth) {
    const w = this.width / SLOTS, svg = this.canvas(BAND + TRACK, `${LEVELS[s.table.level]} table; the lit slot is ${s.index}`, depth);
    svg.setAttribute("role", "img");
    svg.append(rect(0, 0, this.width, BAND, "empty"));
    for (let i = 0; i < SLOTS; i++) {
      const here = this.slot(s, i);
      if (here) svg.append(...this.cell(here, i * w, 0, Math.max(w, 2), BAND));
    }
    svg.append(rect(s.index * w - 1, 0, Math.max(w, 2) + 2, BAND, "lit"));
    this.track(svg, s, BAND);
    this.pointer(svg, s, depth, (x, y) => y < BAND + TRACK ? Math.floor(x / w) : -1);
    return svg;
  }

  cell(here, x, y, w, h) {
    if (!here.below) return box(this.mode, here.shares, x, y, w, h);
    return [rect(x, y, w, 4, "lid"), ...box(this.mode, here.shares, x, y + 4, w, h - 4)];
  }

  // track names what the areas, or else the regions, are.
  track(svg, s, y) {
    const first = s.start, last = s.start + s.size * SLOTS - 1, scale = this.width / (s.size * SLOTS);
    let spans = s.table.level === this.space.root ? [] : this.space.areas.filter((a) => a.first <= last && a.last >= first);
    if (!spans.length) spans = this.space.regions.filter((r) => r.first <= last && r.last >= first);
    let drawn = -9;
    spans.forEach((a, i) => {
      const x = Math.max(0, (a.first - first) * scale), end = Math.min(this.width, (a.last + 1 - first) * scale);
      if (x < drawn && end - x < 1) return;
      drawn = x + 1;
      svg.append(rect(x, y + 2, Math.max(end - x - 0.5, 1), 3, a.name === "hole" ? "hole" : i % 2 ? "area odd" : "area"));
      const text = a.name === "hole" ? "" : shorten(a.name, (end - x) / 5.6);
      if (text) svg.append(make("svg:text", { x: round(x + 1), y: y + 13, class: "tiny" }, text));
    });
  }

  zoom(s) {
    const w = this.width / SLOTS, x = s.index * w;
    return make("svg:svg", { width: this.width, height: ZOOM, class: "zoom", "aria-hidden": "true" },
      make("svg:path", { d: `M${round(x)} 0h${round(Math.max(w, 2))}L${this.width} ${ZOOM}H0z` }));
  }

  canvas(height, label, depth) {
    return make("svg:svg", {
      width: this.width, height, viewBox: `0 0 ${this.width} ${height}`, class: "table", "aria-label": label, "data-depth": depth,
    });
  }

  // sheet draws a table as a grid of cells, with the address of each row.
  sheet(s, depth) {
    const margin = this.width > 760 ? 124 : 0;
    const cols = this.width > 760 ? 64 : this.width > 420 ? 32 : 16, lines = SLOTS / cols;
    const w = (this.width - margin) / cols, h = Math.max(18, Math.min(26, w * 1.5));
    const svg = this.canvas(lines * h + TRACK + 4, `${LEVELS[s.table.level]} table at ${hex(BigInt(s.table.pfn) << 12n)}`, depth);
    Object.entries({
      role: "grid", tabindex: 0, id: "sheet", "aria-rowcount": lines, "aria-colcount": cols, "aria-activedescendant": `s${s.index}`,
    }).forEach(([k, v]) => svg.setAttribute(k, v));
    svg.append(rect(margin, 0, this.width - margin, lines * h, "empty"));
    for (let line = 0; line < lines; line++) {
      const row = make("svg:g", { role: "row" }), first = line * cols;
      if (margin) row.append(make("svg:text", { x: 0, y: round((line + 0.68) * h), class: "tiny mono", "aria-hidden": "true" }, hex16(this.space.address(s.start + first * s.size))));
      for (let i = first; i < first + cols; i++) row.append(this.gridCell(s, i, margin + (i - first) * w, line * h, w, h));
      svg.append(row);
    }
    if (s.table.detail === DETAIL_SUMMARY) this.summary(svg, s, margin, lines * h);
    const x = margin + s.index % cols * w, y = Math.floor(s.index / cols) * h, lit = rect(x - 1, y - 1, w + 2, h + 2, "lit");
    svg.append(lit);
    this.track(svg, s, lines * h);
    this.grid = { lit, margin, cols, w, h };
    this.pointer(svg, s, depth, (px, py) => px < margin || py >= lines * h ? -1 : Math.floor(py / h) * cols + Math.floor((px - margin) / w));
    return svg;
  }

  gridCell(s, i, x, y, w, h) {
    const here = this.slot(s, i), g = make("svg:g", { role: "gridcell", id: `s${i}`, "aria-selected": i === s.index });
    if (!here) {
      g.append(rect(x + 0.5, y + 0.5, w - 1, h - 1, "slot"));
      g.setAttribute("aria-label", `${i}: empty`);
      return g;
    }
    g.setAttribute("aria-label", `${i}: ${this.text(s, i)}`);
    g.append(...this.cell(here, x + 0.5, y + 0.5, w - 1, h - 1));
    const look = here.shares.length === 1 && !here.below ? this.mode.sets[here.shares[0][0]] : null;
    if (look?.letter && w >= 7 * look.letter.length + 3) {
      g.append(make("svg:text", { x: round(x + w / 2), y: round(y + h / 2 + 4), class: "letter on-" + look.color, "aria-hidden": "true" }, look.letter));
    }
    return g;
  }

  summary(svg, s, x, height) {
    svg.append(...box(this.mode, categories(this.space, this.mode, this.space.count(s.table, s.access)), x, 0, this.width - x, height));
  }

  pointer(svg, s, depth, slotAt) {
    const at = (e) => {
      const i = slotAt(e.offsetX, e.offsetY);
      return i >= 0 && i < SLOTS ? i : -1;
    };
    svg.addEventListener("pointermove", (e) => { const i = at(e); if (i >= 0) this.say(this.text(s, i)); });
    svg.addEventListener("click", (e) => { const i = at(e); if (i >= 0) this.go(s.start + i * s.size, depth + 1, true); });
  }

  // text says what is in a slot, and how far the like of it reaches.
  text(s, i) {
    const e = this.space.entries(s.table), id = e.cls[i], c = this.space.info.classes[id];
    const [from, to] = sameAround(e.cls, i);
    const address = (k) => hex16(this.space.address(s.start + k * s.size));
    const span = `${address(from)}–${hex16(this.space.address(s.start + (to + 1) * s.size - 1) + 0xfffn)}`;
    if (!c) return `${span}  ${sizeText((to - from + 1) * s.size * 4096)} empty`;
    if (c.k === "table") {
      const sum = new Map();
      this.space.countSlot(s.table, e, i, s.access, sum);
      const what = categories(this.space, BY_KIND, sum).map((x) => `${countText(x[1], KINDS[x[0]].label, KINDS[x[0]].label)} (${sizeText(x[2])})`);
      return `${address(i)}  ${meaning(c, e.num[i])}: ${what.join(", ") || "empty"}`;
    }
    const flags = flagsOf(this.space, c, this.space.raw(s.table, i));
    const many = to > from ? `, one of ${to - from + 1} alike in ${span}` : "";
    return [address(i), `${SIZES[c.l]} ${LEVELS[c.l]}`, rightsLabel(rightsOf(c, s.access)), c.k, meaning(c, e.num[i]), flags.join(" "),
      c.p > 0 ? `key ${c.p}` : "", c.e ?? ""].filter(Boolean).join("  ") + many;
  }
}

function sameAround(cls, i) {
  let from = i, to = i;
  while (from > 0 && cls[from - 1] === cls[i]) from--;
  while (to < SLOTS - 1 && cls[to + 1] === cls[i]) to++;
  return [from, to];
}
