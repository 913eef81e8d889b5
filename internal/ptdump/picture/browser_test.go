//go:build browser

package picture

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/truth"
	"ptemu/linux/proc"
)

// mapFile writes the page of a capture and returns its path.
func mapFile(t *testing.T, capture string) string {
	t.Helper()
	_, page := processPage(t, capturetest.Open(t, capture, "cr3"), nil)
	out := filepath.Join(t.TempDir(), "map.html")
	if err := os.WriteFile(out, page, 0o666); err != nil {
		t.Fatal(err)
	}
	return out
}

// committedDump returns the dump of a capture folder of the repository.
func committedDump(t *testing.T, name string) string {
	t.Helper()
	folders, err := truth.Folders(capturetest.Repository())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		if f.Name() == name {
			return f.Dumps()[0]
		}
	}
	t.Fatalf("no capture %s", name)
	return ""
}

// listEntries is a program that lists all entries as the page's own code decodes them.
const listEntries = `(() => {
  const space = ptdump.space, out = [];
  const below = (t, start, access, path) => {
    const e = space.entries(t), size = 512 ** (t.level - 1);
    if (path.includes(t.pfn)) return;
    for (let i = 0; i < 512; i++) {
      const c = space.info.classes[e.cls[i]], at = start + i * size, child = space.child(t, i);
      if (child) below(child, at, access & accessOf(c), [...path, t.pfn]);
      else if (c && c.k !== "problem" && c.k !== "table") {
        const raw = space.raw(t, i);
        out.push([hex16(space.address(at)), LEVELS[c.l], raw.toString(16).padStart(16, "0"), rightsLabel(rightsOf(c, access)), c.k,
          meaning(c, e.num[i]), flagsOf(space, c, raw).join(" "), c.s, c.p].join(";"));
      }
    }
  };
  below(space.tables[0], 0, 7, []);
  return out.join("\n");
})()`

// TestBrowserHoldsEveryEntry: the program of the page decodes every entry as the other commands do.
func TestBrowserHoldsEveryEntry(t *testing.T) {
	c := startChromium(t)
	captures := []string{capturetest.Small(t, false), nonsenseCapture(t), committedDump(t, "linux-7.2-4level"), committedDump(t, "linux-7.2-la57-pti-2cpu")}
	for _, path := range captures {
		o := capturetest.Open(t, path, "cr3")
		want := &pictureSink{s: o.Tree}
		if err := o.Walk(tree.Filter{}, want); err != nil {
			t.Fatal(err)
		}
		c.open(mapFile(t, path), "")
		got := strings.Split(c.text(listEntries), "\n")
		if len(got) != len(want.leaves) {
			t.Errorf("%s: %d entries, want %d", path, len(got), len(want.leaves))
		}
		for i := range min(len(got), len(want.leaves)) {
			w := &want.leaves[i]
			r := tree.Rights{R: w.rights&1 != 0, W: w.rights&2 != 0, X: w.rights&4 != 0, U: w.rights&8 != 0}
			line := fmt.Sprintf("%v;%v;%016x;%v;%s;%s;%s;%d;%d", w.va, w.level, w.raw, r, w.kind, w.meaning, w.flags, w.state, w.pkey)
			if got[i] != line {
				t.Fatalf("%s: entry %d\n got %s\nwant %s", path, i, got[i], line)
			}
		}
		t.Logf("%d entries", len(got))
	}
	c.quiet()
}

// TestBrowserKeys: everything can be reached by keyboard, and the address of the page follows.
func TestBrowserKeys(t *testing.T) {
	c := startChromium(t)
	c.size(1300, 1000)
	c.open(mapFile(t, capturetest.Small(t, false)), "")
	hash := func(want string) {
		t.Helper()
		if got := c.text("location.hash"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	c.shot("keys-start")
	c.press("/")
	for _, k := range "7f0000001abc" {
		c.press(string(k))
	}
	c.press("Enter")
	hash("#va=0x00007f0000001000&zoom=pte&color=summary")
	if got := c.text(`document.querySelector("#decoded .what").textContent`); !strings.Contains(got, "swap: device 0 slot 0x1") {
		t.Errorf("the entry is %q", got)
	}
	if got := c.text("document.activeElement.id"); got != "sheet" {
		t.Errorf("%q has the focus", got)
	}
	c.press("ArrowRight", "ArrowRight")
	hash("#va=0x00007f0000003000&zoom=pte&color=summary")
	c.press("Enter")
	hash("#va=0x00007f0000003000&zoom=entry&color=summary")
	c.shot("keys-entry")
	c.press("Escape", "Escape")
	hash("#va=0x00007f0000000000&zoom=pmd&color=summary")
	c.press("n", "n", "n") // two large pages and the next table
	hash("#va=0x00007f0040400000&zoom=pmd&color=summary")
	c.press("p", "4", "-", "-")
	hash("#va=0x00007f0000000000&zoom=p4d&color=level")
	c.press("Enter", "End")
	hash("#va=0x00007f7fc0000000&zoom=pud&color=level")
	c.press("?")
	if got := c.text(`document.getElementById("help").hidden`); got != "false" {
		t.Error("? shows no help")
	}
	c.eval(`document.querySelector("#atlas .strip").focus()`)
	c.press("ArrowDown", "ArrowRight", "Enter")
	if got := c.text("location.hash"); !strings.HasPrefix(got, "#va=0xffff8880") {
		t.Errorf("from the second row to %s", got)
	}
	c.eval(`[...document.querySelectorAll("#legend button")].find((b) => b.textContent.includes("pmd")).click()`)
	hash("#va=0xffffffff81000000&zoom=pmd&color=level")
	c.quiet()
}

// TestBrowserRoles: what has the focus has a name and a role, and there is exactly one stop in each group.
func TestBrowserRoles(t *testing.T) {
	c := startChromium(t)
	c.open(mapFile(t, capturetest.Small(t, true)), "#va=0x7f0000001000")
	checks := map[string]string{
		// No two categories look the same, even without colours that some cannot tell apart.
		`MODES.every((m) => { const seen = m.sets.filter((s, i) => m.name === "rights" ? i & 1 || !i : m.name !== "summary" || s.label !== "present").map((s) => s.color + s.pattern + s.letter); return new Set(seen).size === seen.length; })`: "true",
		`[...document.querySelectorAll("[role=radio]")].filter((b) => b.tabIndex === 0).length`:                                                                              "1",
		`[...document.querySelectorAll("[role=radio]")].filter((b) => b.getAttribute("aria-checked") === "true").length`:                                                     "1",
		`document.querySelectorAll("[role=grid] [role=gridcell]").length`:                                                                                                    "512",
		`document.getElementById(document.getElementById("sheet").getAttribute("aria-activedescendant")).getAttribute("aria-selected")`:                                      "true",
		`[...document.querySelectorAll("button")].filter((b) => !b.textContent.trim()).length`:                                                                               "0",
		`[...document.querySelectorAll("[role=listbox]")].every((s) => document.getElementById(s.getAttribute("aria-activedescendant")))`:                                    "true",
		`[...document.querySelectorAll("[role=option],[role=gridcell],[role=listbox],[role=img]")].every((s) => s.getAttribute("aria-label"))`:                               "true",
		`[...document.querySelectorAll("[id]")].length === new Set([...document.querySelectorAll("[id]")].map((e) => e.id)).size`:                                            "true",
		`new Promise((done) => { document.getElementById("text").open = true; setTimeout(() => done(document.querySelectorAll("#rows table tbody tr").length > 5), 500); })`: "true",
		`document.querySelector("#h-atlas") && document.documentElement.lang`:                                                                                                "en",
		`performance.getEntriesByType("resource").filter((r) => !r.name.startsWith("blob:")).length`:                                                                         "0",
	}
	for expression, want := range checks {
		if got := c.text(expression); got != want {
			t.Errorf("%s is %s, want %s", expression, got, want)
		}
	}
	c.quiet()
}

// TestBrowserLooks: no picture is wider than the window, in any theme, and a page with less detail opens too.
func TestBrowserLooks(t *testing.T) {
	c := startChromium(t)
	path := mapFile(t, committedDump(t, "linux-7.2-4level"))
	for _, width := range []int{360, 800, 1300} {
		for _, scheme := range []string{"light", "dark"} {
			c.size(width, 1400)
			c.media("", scheme)
			c.open(path, "#va=0x10200000000&color=state")
			if got := c.text("document.documentElement.scrollWidth <= innerWidth"); got != "true" {
				t.Errorf("%d wide: the page is %s", width, c.text("document.documentElement.scrollWidth"))
			}
			c.shot(fmt.Sprintf("looks-%d-%s", width, scheme))
		}
	}
	c.media("print", "light")
	c.size(1000, 1400)
	c.open(path, "")
	c.shot("looks-print")
	c.quiet()
}

// TestBrowserHostileNames: markup in the texts of a capture stays text.
func TestBrowserHostileNames(t *testing.T) {
	const evil = `</script><img src=x onerror="document.title='evil'"><script>document.title='evil'</script>`
	o := capturetest.Open(t, nonsenseCapture(t), "cr3")
	p := &proc.Process{PID: 7, Comm: evil, MM: &proc.MM{AreasErr: evil, Areas: []proc.VMA{{Start: 0x400000, End: 0x600000, Name: evil}}}}
	_, page := processPage(t, o, p)
	path := filepath.Join(t.TempDir(), "evil.html")
	if err := os.WriteFile(path, page, 0o666); err != nil {
		t.Fatal(err)
	}
	c := startChromium(t)
	c.open(path, "#va=0x400000&zoom=entry")
	if got := c.text("document.images.length + document.title"); !strings.HasPrefix(got, "0Page tables of </script>") {
		t.Error(got)
	}
	if got := c.text(`document.querySelector("#decoded").textContent`); !strings.Contains(got, "<img src=x") {
		t.Errorf("the area's name is not shown: %s", got)
	}
	c.quiet()
}
