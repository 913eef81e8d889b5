// keys.js: keyboard, search, address of the page, look.

Object.assign(Page.prototype, {
  controls() {
    const modes = MODES.map((m, i) => make("button", {
      type: "button", role: "radio", "aria-checked": m === this.mode, tabindex: m === this.mode ? 0 : -1, "data-mode": m.name,
      onclick: () => this.color(i), onkeydown: (e) => this.modeKey(e, i),
    }, m.title));
    $("modes").append(...modes);
    $("search").addEventListener("submit", (e) => { e.preventDefault(); this.search($("to").value); });
    $("keys").addEventListener("click", () => this.help());
    $("theme").addEventListener("click", () => this.theme());
    this.look = "auto";
    this.showTheme();
    document.addEventListener("keydown", (e) => this.key(e));
    $("levels").addEventListener("keydown", (e) => { if (e.target.id === "sheet") this.sheetKey(e); });
    $("text").addEventListener("toggle", () => this.rows());
    window.addEventListener("hashchange", () => this.fromHash());
    let width = document.body.clientWidth;
    new ResizeObserver(() => {
      if (document.body.clientWidth === width) return;
      width = document.body.clientWidth;
      this.draw();
    }).observe(document.body);
  },

  color(i) {
    this.mode = MODES[i];
    for (const b of $("modes").children) {
      const on = b.dataset.mode === this.mode.name;
      b.setAttribute("aria-checked", on);
      b.tabIndex = on ? 0 : -1;
    }
    this.draw();
  },

  modeKey(e, i) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[e.key];
    if (!step) return;
    const to = (i + step + MODES.length) % MODES.length;
    this.color(to);
    $("modes").children[to].focus();
    e.preventDefault();
    e.stopPropagation();
  },

  help() {
    const open = $("help").hidden;
    $("help").hidden = !open;
    $("keys").setAttribute("aria-expanded", open);
  },

  theme() {
    this.look = { auto: "light", light: "dark", dark: "auto" }[this.look];
    this.showTheme();
  },

  showTheme() {
    if (this.look === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = this.look;
    $("theme").textContent = `Theme: ${this.look}`;
  },

  // key handles what holds everywhere but in the search field.
  key(e) {
    if (e.ctrlKey || e.altKey || e.metaKey) return;
    if (e.target.id === "to") {
      if (e.key === "Escape") $("sheet").focus();
      return;
    }
    if (e.key === "/") { $("to").focus(); $("to").select(); }
    else if (e.key === "?") this.help();
    else if (e.key >= "1" && e.key <= String(MODES.length)) this.color(Number(e.key) - 1);
    else if (e.key === "n" || e.key === "p") this.step(e.key === "p");
    else if (e.key === "Escape" || e.key === "-") this.close();
    else if (e.key === "+") this.open(this.page, this.depth, true);
    else return;
    e.preventDefault();
  },

  // step goes to the next entry that is not empty: within the table, then beyond it.
  step(back) {
    const s = this.space.walk(this.page, this.depth).at(-1), e = this.space.entries(s.table), d = back ? -1 : 1;
    for (let i = s.index + d; i >= 0 && i < SLOTS; i += d) if (e.cls[i] >= 0) return this.select(s.start + i * s.size, this.depth);
    const from = back ? s.start - 1 : s.start + s.size * SLOTS;
    if (from < 0 || from >= this.space.pages) return;
    const at = this.space.find(() => true, from, back);
    if (at !== null) this.select(at, this.depth);
  },

  sheetKey(e) {
    const s = this.space.walk(this.page, this.depth).at(-1), cols = this.walk.grid.cols;
    const to = {
      ArrowRight: s.index + 1, ArrowLeft: s.index - 1, ArrowDown: s.index + cols, ArrowUp: s.index - cols, Home: 0, End: SLOTS - 1,
    }[e.key];
    if (to !== undefined) this.select(s.start + to * s.size, this.depth); // also into the neighbouring table
    else if (e.key === "Enter") this.open(this.page, this.depth, true);
    else return;
    e.preventDefault();
    e.stopPropagation();
  },

  // search goes to an address, or to the first area or region with a name.
  search(text) {
    text = text.trim();
    $("found").textContent = "";
    if (/^(0x)?[0-9a-f_]+$/i.test(text) && text.replace(/_|0x/gi, "").length <= 16) {
      const page = this.space.pageOf(BigInt("0x" + text.replace(/_|^0x/gi, "")));
      if (page === null) { $("found").textContent = "not canonical: no table holds it"; return; }
      this.select(page, 9);
    } else {
      const named = [...this.space.areas, ...this.space.regions].find((a) => text && a.name.toLowerCase().includes(text.toLowerCase()));
      const at = named ? this.space.find(() => true, named.first) : null;
      if (!named) { $("found").textContent = "neither an address nor a name"; return; }
      this.select(at !== null && at <= named.last ? Math.max(at, named.first) : named.first, 9);
    }
    const s = this.space.walk(this.page, this.depth).at(-1);
    if (this.space.entries(s.table).cls[s.index] < 0) $("found").textContent = "nothing is mapped there";
    $("sheet").focus({ preventScroll: true });
    $("walk").scrollIntoView({ block: "start" });
  },

  // The part behind the # is va=ADDRESS&zoom=LEVEL&color=MODE, all optional.
  fromHash() {
    if (this.written === location.hash && location.hash) return;
    const want = new URLSearchParams(location.hash.slice(1)), color = MODES.findIndex((m) => m.name === want.get("color"));
    if (color >= 0) this.mode = MODES[color];
    let page = null;
    try { page = this.space.pageOf(BigInt("0x" + (want.get("va") ?? "").replace(/^0x/i, ""))); } catch { /* no address */ }
    const level = LEVELS.indexOf(want.get("zoom") ?? "");
    this.atEntry = want.get("zoom") === "entry";
    this.depth = level > 0 ? Math.max(1, this.space.root - level + 1) : page === null ? 1 : 9;
    this.page = page ?? this.space.find(() => true, 0) ?? 0;
    if (color >= 0) this.color(color);
    else this.draw();
  },

  toHash(steps) {
    const zoom = this.atEntry ? "entry" : LEVELS[steps[steps.length - 1].table.level];
    this.written = `#va=${hex16(this.space.address(this.page))}&zoom=${zoom}&color=${this.mode.name}`;
    try { history.replaceState(null, "", this.written); } catch { /* not everywhere */ }
  },
});

start();
