package ptdump

import (
	"bytes"
	"encoding/xml"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/capture/elfcore"
	"ptemu/capture/elfnote"
	"ptemu/internal/pttree"
	"ptemu/internal/truth"
	"ptemu/linux/proc"
)

// openTest opens a capture as the commands do.
func openTest(t testing.TB, path, root string) *opened {
	t.Helper()
	o, err := openSession(t.Context(), path, &machine{cpu: -1, root: root})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

// packed draws the picture of a session, and returns the page's data.
func packed(t testing.TB, o *opened, max int) (*pageData, *picture) {
	t.Helper()
	p, err := drawPicture(t.Context(), o.Session, 0)
	if err != nil {
		t.Fatal(err)
	}
	data, err := p.pack(o.pictureInfo(nil, nil), max)
	if err != nil {
		t.Fatal(err)
	}
	if max > 0 && len(data) > max {
		t.Errorf("%d bytes of data, %d are allowed", len(data), max)
	}
	return readPictureData(t, data), p
}

// TestPictureHoldsEveryEntry: the page's data, read anew, give every entry that a walk finds, with the same 64 bits, the same
// meaning in words and the same effective rights, and no other entry.
func TestPictureHoldsEveryEntry(t *testing.T) {
	eachCapture(t, func(t *testing.T, f truth.Folder, dump string) {
		for _, root := range []string{"cr3", "swapper"} {
			o := openTest(t, dump, root)
			data, _ := packed(t, o, 0)
			comparePicture(t, o.Session, data)
		}
	})
}

func TestPictureOfEveryKind(t *testing.T) {
	for _, damage := range []bool{false, true} {
		o := openTest(t, smallCapture(t, damage), "cr3")
		data, _ := packed(t, o, 0)
		comparePicture(t, o.Session, data)
	}
	enc := uint64(1) << 47 // a memory encryption bit within the frame
	o, err := openSession(t.Context(), makeCapture(t, false, enc), &machine{cpu: -1, root: "cr3", encMask: &enc})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	data, _ := packed(t, o, 0)
	comparePicture(t, o.Session, data)
}

// comparePicture compares what a page would show with a walk.
func comparePicture(t *testing.T, s *Session, data *pageData) {
	t.Helper()
	want := &pictureSink{s: s}
	if err := s.Walk(Filter{}, want); err != nil {
		t.Fatal(err)
	}
	i, bad := 0, 0
	data.leaves(func(l *pageLeaf) {
		if l.problem || bad > 5 {
			return
		}
		if i >= len(want.leaves) {
			t.Fatalf("%v %v %016x is in the page only", l.va, l.level, l.raw)
		}
		l.depth = 0
		if w := want.leaves[i]; *l != w {
			t.Errorf("entry %d:\n in the page %+v\n in the walk %+v", i, *l, w)
			bad++
		}
		i++
	})
	if i != len(want.leaves) && bad == 0 {
		t.Errorf("%d entries in the page, %d in the walk", i, len(want.leaves))
	}
	if i == 0 {
		t.Error("no entry was compared")
	}
}

// pictureSink collects what a walk finds, in the words that the other commands use.
type pictureSink struct {
	s      *Session
	leaves []pageLeaf
}

func (p *pictureSink) Problem(*Problem) error { return nil }

func (p *pictureSink) Leaf(l *Leaf) error {
	abi := p.s.ABI
	w := pageLeaf{va: l.VA, level: l.Level, raw: l.Raw, known: true, kind: l.Kind, pkey: -1, tablePFN: uint64(l.Table.PFN()),
		meaning: leafMeaning(l), flags: strings.Join(abi.AppendFlags(nil, l.Level, l.Raw), " "), wrong: l.Invalid || l.unusable()}
	for i, on := range [...]bool{l.Rights.R, l.Rights.W, l.Rights.X, l.Rights.U} {
		if on {
			w.rights |= 1 << i
		}
	}
	if hasPkey(l) {
		w.pkey = int(l.Raw & x86.PagePkeyMask >> x86.PageBitPkey0)
	}
	if hasSwap(l) && l.VA>>63 != 0 {
		w.meaning += takenOut
	}
	w.state = stateOf(abi, l)
	p.leaves = append(p.leaves, w)
	return nil
}

// stateOf is the state of an entry by the value methods of package x86 and the decoded swap form.
func stateOf(abi *x86.ABI, l *Leaf) (state int) {
	is := func(on bool, bit int) {
		if on {
			state |= bit
		}
	}
	if !isPage(l) {
		is(l.Swap.Young, pictureAccessed)
		is(l.Swap.Dirty, pictureDirty)
		is(l.Swap.SoftDirty, pictureSoftDirty)
		is(l.Swap.UffdWP || l.Swap.Marker&1 != 0, pictureUffdWP)
		return state
	}
	is(l.Raw&x86.PageAccessed != 0, pictureAccessed)
	is(l.Raw&(x86.PageDirty|abi.SavedDirtyMask()) != 0, pictureDirty)
	for _, name := range abi.AppendFlags(nil, l.Level, l.Raw) {
		is(name == "SOFT_DIRTY", pictureSoftDirty)
		is(name == "UFFD_WP", pictureUffdWP)
	}
	return state
}

// nonsenseCapture is memory in which tables are full of random bits: more classes of entries than are kept apart.
func nonsenseCapture(t testing.TB) string {
	t.Helper()
	m := pttree.New(0x1000)
	root := m.Table()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range x86.Virt(8 * 512) {
		m.Map(root, 4, 0x400000+i<<12, x86.LevelPTE, r.Uint64(), userTable)
	}
	cpu := elfnote.CPU{CR0: 0x80050033, CR3: uint64(root.Phys()), CR4: 0x750ef0, RIP: 0x401000, CS: 0x33}
	var b bytes.Buffer
	info := "OSRELEASE=7.2.0-\x1b[31m</script><script>alert(1)</script>\nPAGESIZE=4096\nNUMBER(pgtable_l5_enabled)=0\n"
	err := elfcore.Write(&b, m, m.Ranges(), []elfnote.Note{cpu.Note(), elfnote.VMCoreInfoNote([]byte(info))})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "nonsense")
	if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPictureOfNonsense(t *testing.T) {
	o := openTest(t, nonsenseCapture(t), "cr3")
	data, p := packed(t, o, 0)
	if n := len(p.classes.list); n < exactClasses || n > 4*exactClasses {
		t.Errorf("%d classes", n)
	}
	comparePicture(t, o.Session, data)
}

// TestPictureIsCut: a page with less room than it needs keeps the classes of entries, then counts, and says so.
func TestPictureIsCut(t *testing.T) {
	m := pttree.New(0x1000)
	root := m.Table()
	r := rand.New(rand.NewPCG(3, 4))
	for i := range x86.Virt(64 * 512) {
		m.Map(root, 4, 0x10000000000+i<<12, x86.LevelPTE, r.Uint64()&0xfffffff000|0x8000000000000067, userTable)
	}
	o := openTest(t, smallCapture(t, false), "cr3")
	s := *o.Session
	s.Mem, s.Root = m, root.Phys()
	o.Session = &s

	whole, _ := packed(t, o, 0)
	comparePicture(t, o.Session, whole)
	full, _ := drawPicture(t.Context(), o.Session, 0)
	all, err := full.pack(o.pictureInfo(nil, nil), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []int{2, 10} {
		data, p := packed(t, o, len(all)/part)
		if data.cut == 0 || p.cut.NoNumbers == 0 {
			t.Errorf("1/%d: nothing is said to be left out: %+v", part, p.cut)
		}
		n := 0
		data.leaves(func(l *pageLeaf) {
			if n++; l.kind != KindPresent || l.rights != 0xb && l.known {
				t.Fatalf("%+v", l)
			}
		})
		if p.cut.Summarized == 0 && n != 64*512 {
			t.Errorf("1/%d: %d entries", part, n)
		}
	}
	p, _ := drawPicture(t.Context(), o.Session, 0)
	if _, err := p.pack(o.pictureInfo(nil, nil), 100); err == nil {
		t.Error("a page of 100 bytes")
	}
}

// mapOf runs the command and returns what it wrote.
func mapOf(t *testing.T, name string, want int, args ...string) (text, stderr string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), name)
	code, stdout, stderr := run(t, append([]string{"map", "-o", out}, args...)...)
	if code != want || stdout != "" {
		t.Fatalf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), stderr
}

// TestMapPolicy: the page's policy allows the style and the program that are in it, by their digests, and nothing else; and
// the page names nothing outside of itself.
func TestMapPolicy(t *testing.T) {
	page, _ := mapOf(t, "map.html", exitOK, smallCapture(t, false))
	policy := regexp.MustCompile(`http-equiv="Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(page)
	if policy == nil {
		t.Fatal("no policy")
	}
	said := strings.NewReplacer("&#39;", "'", "&#43;", "+").Replace(policy[1])
	style := page[strings.Index(page, "<style>")+7 : strings.Index(page, "</style>")]
	program := page[strings.LastIndex(page, "<script>")+8 : strings.LastIndex(page, "</script>")]
	want := "default-src 'none'; base-uri 'none'; form-action 'none'; script-src " + policyHash(program) + "; style-src " + policyHash(style)
	if said != want {
		t.Errorf("policy %s\nwant   %s", said, want)
	}
	if n := strings.Count(page, "<script"); n != 2 || strings.Count(page, "<style") != 1 {
		t.Errorf("%d scripts", n)
	}
	outside := regexp.MustCompile(`(?i)https?://[^"' ]*|\b(src|href)="[^#"][^"]*"|@import|url\([^#]`)
	for _, found := range outside.FindAllString(page, -1) {
		if found != "http://www.w3.org/2000/svg" && found != "url(${" && found != "url(#${" {
			t.Errorf("the page names %s", found)
		}
	}
	if strings.Contains(page, " style=") || regexp.MustCompile(`<[a-z]+[^>]* on[a-z]+=`).MatchString(page[:strings.LastIndex(page, "<script>")]) {
		t.Error("the page has style attributes or handlers, which its policy forbids")
	}
}

// TestMapIsDeterministic: the same capture gives the same bytes.
func TestMapIsDeterministic(t *testing.T) {
	path := smallCapture(t, false)
	for _, name := range []string{"map.html", "map.svg"} {
		a, _ := mapOf(t, name, exitOK, path)
		b, _ := mapOf(t, name, exitOK, path)
		if a != b {
			t.Errorf("%s differs from run to run", name)
		}
	}
}

func TestMapOfDamage(t *testing.T) {
	path := smallCapture(t, true)
	_, stderr := mapOf(t, "map.html", exitFinding, path, "--phys-bits", "46")
	for _, want := range []string{"table not in capture", "table is its own ancestor", "reserved bits set"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("stderr does not say %q: %s", want, stderr)
		}
	}
	svg, _ := mapOf(t, "map.svg", exitFinding, path)
	wellFormed(t, svg)
}

func TestMapSVG(t *testing.T) {
	eachCapture(t, func(t *testing.T, f truth.Folder, dump string) {
		svg, _ := mapOf(t, "map.svg", exitOK, dump)
		texts := wellFormed(t, svg)
		o := openTest(t, dump, "cr3")
		for _, want := range []string{"kernel text", "direct map", o.System.Release} {
			if !strings.Contains(texts, want) {
				t.Errorf("the picture does not say %q", want)
			}
		}
	})
}

// wellFormed reads XML to its end and returns its text.
func wellFormed(t *testing.T, s string) string {
	t.Helper()
	var text strings.Builder
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		token, err := d.Token()
		if err == io.EOF {
			return text.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		if chars, ok := token.(xml.CharData); ok {
			text.Write(chars)
		}
	}
}

// processPage makes the page of a process whose tables are the session's.
func processPage(t *testing.T, o *opened, p *proc.Process) (*pictureInfo, []byte) {
	t.Helper()
	info := o.pictureInfo(p, &machineSpaces{Procs: &proc.Processes{}})
	var err error
	if info.Rows, err = o.atlas(t.Context(), &tally{swap: swapUses{layout: o.Layout}}); err != nil {
		t.Fatal(err)
	}
	pic, err := drawPicture(t.Context(), o.Session, 0)
	if err != nil {
		t.Fatal(err)
	}
	data, err := pic.pack(info, 0)
	if err != nil {
		t.Fatal(err)
	}
	page, err := info.page(data)
	if err != nil {
		t.Fatal(err)
	}
	return info, page
}

// TestMapHostileNames: texts from the capture never become markup.
func TestMapHostileNames(t *testing.T) {
	const evil = "</script><img src=x onerror=alert(1)>\x00\x1b[31m\u202e\xff<!--"
	o := openTest(t, nonsenseCapture(t), "cr3")
	p := &proc.Process{PID: 7, TGID: 7, Comm: evil, MM: &proc.MM{AreasErr: evil, Areas: []proc.VMA{
		{Start: 0x400000, End: 0x401000, Name: evil}, {Start: 0x402000, End: 0x403000, File: &proc.File{Path: evil}},
	}}}
	o.System.Warnings = append(o.System.Warnings, evil)
	info, page := processPage(t, o, p)
	for _, bad := range []string{"<img", "</script><", "\x00", "\x1b", "<!--"} {
		if strings.Contains(string(page), bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	if n := strings.Count(string(page), "</script>"); n != 2 {
		t.Errorf("%d ends of scripts", n)
	}
	svg := string(info.svg())
	wellFormed(t, svg)
	if strings.Contains(svg, "<img") {
		t.Error("the picture holds markup of the capture")
	}
}

func TestMapUsage(t *testing.T) {
	path := smallCapture(t, false)
	for _, args := range [][]string{
		{}, {path}, {path, "x"}, {path, "1", "2"}, {path, "-o", "map.txt"}, {path, "-o", "m.svg", "--max-size", "x"},
		{path, "1", "--pid", "2", "-o", "m.svg"}, {path, "-o", filepath.Join(t.TempDir(), "m.html"), "--max-size", "10K"},
	} {
		if code, _, stderr := run(t, append([]string{"map"}, args...)...); code != exitUsage {
			t.Errorf("%q: exit %d: %s", args, code, stderr)
		}
	}
}

// TestMapContrast: texts and signs stand out from what is behind them, in both themes (WCAG 2: 4.5 for text, 3 for signs).
func TestMapContrast(t *testing.T) {
	css, err := webFiles.ReadFile("web/page.css")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile(`(?s)(:root|:root\[data-theme="dark"\]) \{(.*?)\}`).FindAllStringSubmatch(string(css), -1)
	colors := map[string]float64{}
	themes := 0
	for _, block := range blocks {
		for _, v := range regexp.MustCompile(`--([a-z]+): (#[0-9a-f]{3,6});`).FindAllStringSubmatch(block[2], -1) {
			colors[v[1]] = luminance(t, v[2])
		}
		if !strings.Contains(block[2], "--paper") {
			continue
		}
		themes++
		for _, pair := range []struct {
			a, b string
			want float64
		}{
			{"ink", "paper", 7}, {"ink", "empty", 7}, {"soft", "paper", 4.5}, {"soft", "empty", 4.5}, {"focus", "paper", 4.5},
			{"blue", "paper", 3}, {"red", "paper", 3}, {"lid", "empty", 2.5},
		} {
			light, dark := max(colors[pair.a], colors[pair.b]), min(colors[pair.a], colors[pair.b])
			if got := (light + 0.05) / (dark + 0.05); got < pair.want {
				t.Errorf("%s: %s on %s has a contrast of %.2f, want %.1f", block[1], pair.a, pair.b, got, pair.want)
			}
		}
	}
	if themes < 2 {
		t.Errorf("%d themes were found", themes)
	}
}

// luminance is that of WCAG 2, of "#rgb" or "#rrggbb".
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	if len(hex) == 4 {
		hex = "#" + strings.Repeat(hex[1:2], 2) + strings.Repeat(hex[2:3], 2) + strings.Repeat(hex[3:4], 2)
	}
	n, err := strconv.ParseUint(hex[1:], 16, 24)
	if err != nil {
		t.Fatal(err)
	}
	linear := func(c uint64) float64 {
		v := float64(c&255) / 255
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(n>>16) + 0.7152*linear(n>>8) + 0.0722*linear(n)
}
