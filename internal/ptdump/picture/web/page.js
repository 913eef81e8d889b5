// page.js: the state of the page, and everything that changes it.

class Page {
  constructor(space) {
    this.space = space;
    this.mode = MODES[0];
    this.page = null; // the selected one
    this.depth = 1; // how many tables are open
    this.atEntry = false;
    space.regions = spansOf(space, space.info.markers.map((m) => ({ first: space.pageOf(BigInt(m.start)), name: m.name })));
    space.areas = space.info.areas.map((a) => ({ ...a, from: a.start, to: a.last, first: space.pageOf(BigInt(a.start)), last: space.pageOf(BigInt(a.last)) }));
    const say = (text) => this.say(text);
    this.atlas = new Atlas(space, $("atlas"), (first, last) => this.zoomTo(first, last), say);
    this.walk = new Walk(space, $("levels"), (page, depth, open) => this.open(page, depth, open), say);
    this.controls();
    this.story();
    this.fromHash();
  }

  say(text) { $("status").textContent = text; }

  // select moves the cursor, within a table or to another.
  select(page, depth = this.depth, atEntry = false) {
    this.page = Math.max(0, Math.min(this.space.pages - 1, page));
    this.depth = depth;
    this.atEntry = atEntry;
    this.draw();
  }

  // open follows an entry: into its table, or to its bits.
  open(page, depth, focus) {
    const steps = this.space.walk(page, depth), s = steps[steps.length - 1], below = this.space.child(s.table, s.index);
    if (below && steps.length === depth && this.space.walk(page, depth + 1).length > depth) {
      const first = this.space.find((c) => true, s.start + s.index * s.size);
      const inside = first !== null && first < s.start + (s.index + 1) * s.size;
      this.select(inside ? Math.max(first, s.start + s.index * s.size) : s.start + s.index * s.size, depth + 1);
      if (focus) $("sheet").focus({ preventScroll: true });
    } else {
      this.select(page, steps.length, true);
      if (focus) $("entry").focus();
    }
  }

  // close goes back out.
  close() {
    if (this.atEntry) {
      this.select(this.page, this.depth);
      $("sheet").focus();
    } else if (this.depth > 1) {
      this.select(this.page, this.depth - 1);
      $("sheet").focus({ preventScroll: true });
    } else {
      document.querySelector("#atlas .strip")?.focus();
    }
  }

  // zoomTo opens the smallest table that holds all pages from first to last.
  zoomTo(first, last) {
    const steps = this.space.walk(first);
    let depth = 1;
    steps.forEach((s, i) => { if (s.start + s.size * SLOTS - 1 >= last) depth = i + 1; });
    this.select(first, depth);
    $("sheet").focus({ preventScroll: true });
    $("walk").scrollIntoView({ block: "start", behavior: "auto" });
  }

  draw() {
    const steps = this.space.walk(this.page ?? 0, this.depth);
    this.depth = steps.length;
    this.page = Math.floor((this.page ?? 0) / steps[steps.length - 1].size) * steps[steps.length - 1].size;
    const focused = document.activeElement?.id === "sheet";
    this.atlas.draw(this.mode, this.page);
    this.walk.draw(this.mode, steps, this.page);
    drawEntry(this.space, $("decoded"), steps);
    this.crumbs(steps);
    if (this.legendOf !== this.mode) this.legend();
    this.rows();
    if (focused) $("sheet").focus({ preventScroll: true });
    const s = steps[steps.length - 1];
    this.say(this.walk.text(s, s.index));
    this.toHash(steps);
  }

  crumbs(steps) {
    const items = steps.map((s, i) => {
      const here = i === steps.length - 1, name = `${LEVELS[s.table.level]}[${s.index}]`;
      return make("li", {}, make("button", { type: "button", "aria-current": here && !this.atEntry ? "step" : null, onclick: () => this.select(this.page, i + 1) },
        i ? name : `root ${name}`));
    });
    items.push(make("li", {}, make("button", { type: "button", "aria-current": this.atEntry ? "step" : null, onclick: () => { this.select(this.page, this.depth, true); $("entry").focus(); } }, hex16(this.space.address(this.page)))));
    $("crumbs").replaceChildren(...items);
  }

  legend() {
    this.legendOf = this.mode;
    const all = categories(this.space, this.mode, this.space.count(this.space.tables[0], 7));
    const items = all.map(([set, n, bytes]) => {
      const look = this.mode.sets[set];
      const swatch = make("svg:svg", { width: 22, height: 16, "aria-hidden": "true" }, rect(0.5, 0.5, 21, 15, "c-" + look.color),
        look.pattern ? rect(0.5, 0.5, 21, 15, "over", { fill: `url(#${look.pattern})` }) : null, rect(0.5, 0.5, 21, 15, "edge"),
        look.letter ? make("svg:text", { x: 11, y: 12, class: "letter on-" + look.color }, look.letter) : null);
      return make("li", {}, make("button", { type: "button", title: "go to the next one", onclick: () => this.next((c, a) => this.mode.of(c, a) === set) },
        swatch, " ", look.label, " ", make("small", {}, `${sizeText(bytes)}, ${n.toLocaleString("en")}`)));
    });
    $("legend").replaceChildren(...items);
  }

  // next goes to the next entry for which is(class, access) holds, and from the last to the first.
  next(is, back = false) {
    const s = this.space.walk(this.page, this.depth).at(-1);
    const test = (id, access) => is(this.space.info.classes[id], access);
    const from = back ? this.page - 1 : this.page + (this.seen ? s.size : 0);
    let at = from < 0 || from >= this.space.pages ? null : this.space.find(test, from, back);
    at ??= this.space.find(test, back ? this.space.pages - 1 : 0, back);
    if (at === null) return this.say("there is none");
    this.seen = true;
    this.select(at, 9);
  }

  // rows is the table at hand as text, made when somebody looks at it.
  rows() {
    if (!$("text").open) return $("rows").replaceChildren();
    const s = this.space.walk(this.page, this.depth).at(-1), e = this.space.entries(s.table), lines = [];
    for (let i = 0; i < SLOTS;) {
      let [, to] = sameAround(e.cls, i);
      const c = this.space.info.classes[e.cls[i]];
      if (c?.k === "table") to = i;
      if (c) lines.push(this.line(s, e, c, i, to));
      i = to + 1;
    }
    $("rows").replaceChildren(make("div", { class: "scroll" }, make("table", {},
      make("caption", {}, `${LEVELS[s.table.level]} table at ${hex(BigInt(s.table.pfn) << 12n)}: ${countText(lines.length, "range")} that are not empty`),
      make("thead", {}, make("tr", {}, ...["From", "To", "Size", "Level", "Rights", "Kind", "First points to", "Flags"].map((t) => make("th", { scope: "col" }, t)))),
      make("tbody", {}, ...lines))));
  }

  line(s, e, c, i, to) {
    const first = this.space.address(s.start + i * s.size), last = this.space.address(s.start + (to + 1) * s.size - 1) + 0xfffn;
    const go = make("button", { type: "button", onclick: () => this.open(s.start + i * s.size, this.depth, true) }, hex16(first));
    const cells = [hex16(last), sizeText((to - i + 1) * s.size * 4096), LEVELS[c.l], c.k === "table" ? "" : rightsLabel(rightsOf(c, s.access)), c.k,
      meaning(c, e.num[i]), flagsOf(this.space, c, this.space.raw(s.table, i)).join(" ")];
    return make("tr", {}, make("td", {}, go), ...cells.map((t) => make("td", {}, t)));
  }

  // story says in a sentence or two what there is, and offers the way to what deserves a look.
  story() {
    const all = this.space.count(this.space.tables[0], 7), classes = this.space.info.classes;
    const halves = [[0, this.space.pages / 2 - 1], [this.space.pages / 2, this.space.pages - 1]].map(([a, b]) => {
      const kinds = categories(this.space, BY_KIND, this.space.countRange(a, b)).filter((k) => k[0] !== kindIndex.get("table"));
      return kinds.length ? kinds.map((k) => `${sizeText(k[2])} ${KINDS[k[0]].label}`).join(", ") : "nothing";
    });
    const odd = [
      ["writable and executable", (c, a) => (rightsOf(c, a) & 6) === 6],
      ["poisoned frames", (c) => c.k === "hwpoison"], ["in migration", (c) => c.k === "migration"],
      ["entries with reserved bits", (c) => c.n], ["entries that no kernel writes", (c) => c.e && !c.n && c.k !== "problem"],
      ["not explained", (c) => c.k === "problem"],
    ].map(([text, is]) => {
      let n = 0;
      for (const [k, m] of all) if (is(classes[k >> 3], k & 7)) n += m;
      return n ? make("button", { type: "button", onclick: () => this.next(is) }, `${text}: ${n.toLocaleString("en")}`) : null;
    }).filter(Boolean);
    $("story").append(make("b", {}, "User half: "), halves[0], ". ", make("b", {}, "Kernel half: "), halves[1],
      `. ${countText(this.space.tables.length, "table")} of 4 KiB say so.`, odd.length ? " Worth a look: " : "", ...odd);
  }
}

const $ = (id) => document.getElementById(id);

// spansOf closes spans that end where the next begins.
function spansOf(space, spans) {
  return spans.map((s, i) => ({ ...s, last: (spans[i + 1]?.first ?? space.pages) - 1 })).filter((s) => s.first !== null);
}

async function start() {
  try {
    if (typeof DecompressionStream === "undefined") throw new Error("this browser is too old: it has no DecompressionStream");
    const space = new Space(await unpack($("data").textContent));
    $("app").hidden = false;
    window.ptdump = new Page(space);
  } catch (e) {
    $("broken").hidden = false;
    $("broken").textContent = `The page cannot show its data: ${e.message}`;
    throw e;
  }
}
