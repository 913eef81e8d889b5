// atlas.js: the first view. A row for each region; in it what is mapped, at widths that grow with the logarithm of the size,
// with the holes between folded.

const ATLAS_TOP = 11, ATLAS_HEIGHT = 37; // where the segments begin and end, with a little room

class Atlas {
  // at is called with first and last page of what was chosen.
  constructor(space, host, at, say) {
    Object.assign(this, { space, host, at, say });
    this.rows = space.info.rows.map((row, i) => {
      const segments = row.spans.map(([first, last]) => ({
        first: space.pageOf(BigInt(first)), last: space.pageOf(BigInt(last)),
      }));
      for (const s of segments) s.counts = space.countRange(s.first, s.last);
      const counts = new Map();
      for (const s of segments) for (const [k, n] of s.counts) add(counts, k, n);
      return { i, name: row.name, start: row.start, segments, counts, cursor: 0, areas: areasIn(space, segments) };
    });
  }

  draw(mode, selected) {
    const width = Math.max(200, stripWidth(this.host));
    if (this.drawn !== mode.name + width) {
      this.drawn = mode.name + width;
      this.host.replaceChildren(...this.rows.map((row) => this.row(row, mode, width)));
    }
    this.mark(selected);
  }

  // mark moves the sign of the selected page.
  mark(selected) {
    this.marked?.remove();
    this.host.querySelector("[aria-selected=true]")?.setAttribute("aria-selected", false);
    for (const row of this.rows) {
      const i = row.segments.findIndex((s) => selected >= s.first && selected <= s.last);
      if (i < 0) continue;
      const g = this.host.querySelector(`#a${row.i}-${i}`), s = row.segments[i];
      g.setAttribute("aria-selected", true);
      g.append(this.marked = caret(s.x + s.w / 2, ATLAS_HEIGHT));
    }
  }

  row(row, mode, width) {
    const list = categories(this.space, BY_KIND, row.counts).filter((c) => KINDS[c[0]].label !== "table");
    const mapped = list.reduce((s, c) => s + (["present", "protnone"].includes(KINDS[c[0]].label) ? c[2] : 0), 0);
    const entries = list.reduce((s, c) => s + c[1], 0);
    const strip = this.strip(row, mode, width);
    return make("div", { class: "row" },
      make("div", { class: "row-name" }, make("b", {}, row.name), make("code", {}, row.start)),
      strip,
      make("div", { class: "row-size" }, make("b", {}, sizeText(mapped)), make("span", {}, countText(entries, "entry", "entries"))));
  }

  strip(row, mode, width) {
    place(row.segments, width);
    const tall = ATLAS_HEIGHT + (row.areas ? 14 : 0);
    const svg = make("svg:svg", {
      width, height: tall, viewBox: `0 0 ${width} ${tall}`, class: "strip", tabindex: 0, role: "listbox",
      "aria-label": `${row.name}: ${countText(row.segments.length, "part")}`, "aria-activedescendant": `a${row.i}-${row.cursor}`,
      onkeydown: (e) => this.key(e, row, svg), onclick: (e) => this.click(e, row),
      onpointermove: (e) => this.say(this.text(row, this.under(e, row))), onfocus: () => this.focus(row, svg, row.cursor),
    });
    let free = 0; // of texts above holes
    row.segments.forEach((s, i) => {
      const before = row.segments[i - 1];
      if (before && s.x > before.x + before.w) {
        svg.append(fold(before.x + before.w, s.x, (ATLAS_TOP + ATLAS_HEIGHT - 4) / 2));
        free = this.holeSize(svg, before, s, free);
      }
      svg.append(make("svg:g", {
        id: `a${row.i}-${i}`, role: "option", "aria-selected": false, "aria-label": this.text(row, i),
      }, ...box(mode, categories(this.space, mode, s.counts), s.x, ATLAS_TOP, s.w, ATLAS_HEIGHT - ATLAS_TOP - 4),
      rect(s.x, ATLAS_TOP, s.w, ATLAS_HEIGHT - ATLAS_TOP - 4, "edge")));
    });
    for (const name of row.areas ?? []) this.areaName(svg, row, name);
    return svg;
  }

  // holeSize writes above a large hole how large it is, if there is room, and returns where the next may be written.
  holeSize(svg, before, s, free) {
    const pages = s.first - before.last - 1, text = sizeText(pages * 4096), half = text.length * 2.6;
    const x = Math.min((before.x + before.w + s.x) / 2, Number(svg.getAttribute("width")) - half);
    if (pages < 2 ** 18 || x - half < free) return free;
    svg.append(make("svg:text", { x: round(x), y: ATLAS_TOP - 3, class: "tiny hole-size", "aria-hidden": "true" }, text));
    return x + half + 4;
  }

  // areaName writes the name of areas below the segments that they cover, if there is room.
  areaName(svg, row, name) {
    const a = row.segments[name.from], b = row.segments[name.to], room = b.x + b.w - a.x;
    svg.append(rect(a.x, ATLAS_HEIGHT, room, 2, "area"));
    const text = shorten(name.text, room / 5.6);
    if (text) svg.append(make("svg:text", { x: round(a.x), y: ATLAS_HEIGHT + 11, class: "tiny", "aria-hidden": "true" }, text));
  }

  text(row, i) {
    const s = row.segments[i];
    if (!s) return "";
    const what = categories(this.space, BY_KIND, s.counts).map((c) => `${KINDS[c[0]].label} ${sizeText(c[2])}`).join(", ");
    const next = row.segments[i + 1];
    const hole = next && next.first > s.last + 1 ? `; then a hole of ${sizeText((next.first - s.last - 1) * 4096)}` : "";
    return `${row.name}: ${hex16(this.space.address(s.first))}–${hex16(this.space.address(s.last) + 0xfffn)}, ${what}${hole}`;
  }

  under(e, row) {
    const x = e.offsetX ?? 0;
    let best = 0;
    row.segments.forEach((s, i) => { if (x >= s.x - 2) best = i; });
    return best;
  }

  click(e, row) {
    row.cursor = this.under(e, row);
    this.at(row.segments[row.cursor].first, row.segments[row.cursor].last);
  }

  focus(row, svg, i) {
    row.cursor = Math.max(0, Math.min(row.segments.length - 1, i));
    svg.setAttribute("aria-activedescendant", `a${row.i}-${row.cursor}`);
    for (const g of svg.querySelectorAll(".cursor")) g.classList.remove("cursor");
    svg.querySelector(`#a${row.i}-${row.cursor}`)?.classList.add("cursor");
    this.say(this.text(row, row.cursor));
  }

  key(e, row, svg) {
    const to = { ArrowRight: row.cursor + 1, ArrowLeft: row.cursor - 1, Home: 0, End: row.segments.length - 1 }[e.key];
    if (to !== undefined) {
      this.focus(row, svg, to);
    } else if (e.key === "ArrowDown" || e.key === "ArrowUp") {
      const strips = [...this.host.querySelectorAll(".strip")];
      strips[strips.indexOf(svg) + (e.key === "ArrowDown" ? 1 : -1)]?.focus();
    } else if (e.key === "Enter" || e.key === "+") {
      this.at(row.segments[row.cursor].first, row.segments[row.cursor].last);
    } else {
      return;
    }
    e.preventDefault();
    e.stopPropagation();
  }
}

function stripWidth(host) {
  const wide = host.clientWidth;
  return wide > 720 ? wide - 330 : wide - 2;
}

// place gives each segment its x and width. Holes take a third at most, larger ones a little more.
function place(segments, width) {
  const hole = (i) => i && segments[i].first > segments[i - 1].last + 1 ? 3 + Math.log2(segments[i].first - segments[i - 1].last) / 4 : 0;
  let holes = 0;
  segments.forEach((_, i) => { holes += hole(i); });
  const shrink = holes ? Math.min(1, width * 0.34 / holes) : 0;
  const least = Math.min(4, (width - holes * shrink) / segments.length / 2);
  const weight = (s) => 1 + Math.log2(s.last - s.first + 1);
  const all = segments.reduce((n, s) => n + weight(s), 0);
  // What is alone in its region shall not look as if it filled it.
  const room = Math.min(width - holes * shrink - least * segments.length, 26 * all);
  let x = 0;
  segments.forEach((s, i) => {
    x += hole(i) * shrink;
    s.x = x;
    s.w = least + room * weight(s) / all;
    x += s.w;
  });
}

// fold is the sign of a hole: torn edges, or a dot where there is no room.
function fold(from, to, mid) {
  const w = to - from, x = (from + to) / 2;
  const tear = (x) => `M${round(x - 1)} ${mid - 8}l2.5 4l-2.5 4l2.5 4l-2.5 4`;
  const d = w < 4 ? `M${round(x)} ${mid - 1}v2` : w < 8 ? tear(x) : tear(x - 2) + tear(x + 2);
  return make("svg:path", { d, class: "fold" });
}

const caret = (x, y) => make("svg:path", { d: `M${round(x)} ${y - 4}l5 5h-10z`, class: "caret" });

// areasIn names the areas that segments lie in: neighbours in areas of one name are one.
function areasIn(space, segments) {
  if (!space.areas?.length) return null;
  const out = [];
  segments.forEach((s, i) => {
    const a = space.areas.find((a) => a.first <= s.last && a.last >= s.first);
    if (!a) return;
    const text = a.name.replace(/^.*\//, ""), last = out[out.length - 1];
    if (last?.text === text && last.to === i - 1) last.to = i;
    else out.push({ text, from: i, to: i });
  });
  return out.length ? out : null;
}

function shorten(text, letters) {
  letters = Math.floor(letters);
  if (text.length <= letters) return text;
  return letters < 4 ? "" : text.slice(0, letters - 1) + "…";
}
