package picture

import (
	"bytes"
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
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/entries"
	"ptemu/internal/ptdump/session"
	"ptemu/internal/ptdump/space"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/pttree"
	"ptemu/internal/truth"
	"ptemu/linux/proc"
	"ptemu/pgtable"
)

// packed draws the picture of a session, and returns the page's data.
func packed(t testing.TB, o *session.Session, max int) (*pageData, *Picture) {
	t.Helper()
	p, err := Draw(t.Context(), o.Tree, 0)
	if err != nil {
		t.Fatal(err)
	}
	data, err := p.Pack(NewInfo(o.Tree, o.RootWhy, nil, nil), max)
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
	capturetest.EachCapture(t, func(t *testing.T, f truth.Folder, dump string) {
		for _, root := range []string{"cr3", "swapper"} {
			o := capturetest.Open(t, dump, root)
			data, _ := packed(t, o, 0)
			comparePicture(t, o.Tree, data)
		}
	})
}

func TestPictureOfEveryKind(t *testing.T) {
	for _, damage := range []bool{false, true} {
		o := capturetest.Open(t, capturetest.Small(t, damage), "cr3")
		data, _ := packed(t, o, 0)
		comparePicture(t, o.Tree, data)
	}
	enc := uint64(1) << 47 // a memory encryption bit within the frame
	o, err := session.Open(t.Context(), capturetest.Encrypted(t, false, enc), &session.Options{CPU: -1, Root: "cr3", EncMask: &enc})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	data, _ := packed(t, o, 0)
	comparePicture(t, o.Tree, data)
}

// comparePicture compares what a page would show with a walk.
func comparePicture(t *testing.T, s *tree.Tree, data *pageData) {
	t.Helper()
	want := &pictureSink{s: s}
	if err := s.Walk(tree.Filter{}, want); err != nil {
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
	s      *tree.Tree
	leaves []pageLeaf
}

func (p *pictureSink) Problem(*pgtable.Problem) error { return nil }

func (p *pictureSink) Leaf(l *tree.Leaf) error {
	abi := p.s.ABI
	w := pageLeaf{va: l.VA, level: l.Level, raw: l.Raw, known: true, kind: l.Kind, pkey: -1, tablePFN: uint64(l.Table.PFN()),
		meaning: entries.Meaning(l), flags: strings.Join(l.Kind.AppendFlags(abi, nil, l.Level, l.Raw), " "), wrong: l.Invalid || l.Unusable()}
	for i, on := range [...]bool{l.Rights.R, l.Rights.W, l.Rights.X, l.Rights.U} {
		if on {
			w.rights |= 1 << i
		}
	}
	if l.HasPkey() {
		w.pkey = int(l.Raw & x86.PagePkeyMask >> x86.PageBitPkey0)
	}
	w.state = stateOf(abi, l)
	p.leaves = append(p.leaves, w)
	return nil
}

// stateOf is the state of an entry by the value methods of package x86 and the decoded swap form.
func stateOf(abi *x86.ABI, l *tree.Leaf) (state int) {
	is := func(on bool, bit int) {
		if on {
			state |= bit
		}
	}
	if !l.IsPage() {
		is(l.Swap.Young, pictureAccessed)
		is(l.Swap.Dirty, pictureDirty)
		is(l.Swap.SoftDirty, pictureSoftDirty)
		is(l.Swap.UffdWP || l.Swap.Marker&1 != 0, pictureUffdWP)
		return state
	}
	is(l.Raw&x86.PageAccessed != 0, pictureAccessed)
	is(l.Raw&(x86.PageDirty|abi.SavedDirtyMask()) != 0, pictureDirty)
	for _, name := range l.Kind.AppendFlags(abi, nil, l.Level, l.Raw) {
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
		m.Map(root, 4, 0x400000+i<<12, x86.LevelPTE, r.Uint64(), capturetest.UserTable)
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
	o := capturetest.Open(t, nonsenseCapture(t), "cr3")
	data, p := packed(t, o, 0)
	if n := len(p.classes.list); n < exactClasses || n > 4*exactClasses {
		t.Errorf("%d classes", n)
	}
	comparePicture(t, o.Tree, data)
}

// TestPictureIsCut: a page with less room than it needs keeps the classes of entries, then counts, and says so.
func TestPictureIsCut(t *testing.T) {
	m := pttree.New(0x1000)
	root := m.Table()
	r := rand.New(rand.NewPCG(3, 4))
	for i := range x86.Virt(64 * 512) {
		m.Map(root, 4, 0x10000000000+i<<12, x86.LevelPTE, r.Uint64()&0xfffffff000|0x8000000000000067, capturetest.UserTable)
	}
	o := capturetest.Open(t, capturetest.Small(t, false), "cr3")
	s := *o.Tree
	s.Mem, s.Root = m, root.Phys()
	o.Tree = &s

	whole, _ := packed(t, o, 0)
	comparePicture(t, o.Tree, whole)
	full, _ := Draw(t.Context(), o.Tree, 0)
	all, err := full.Pack(NewInfo(o.Tree, o.RootWhy, nil, nil), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []int{2, 10} {
		data, p := packed(t, o, len(all)/part)
		if data.cut == 0 || p.Cut.NoNumbers == 0 {
			t.Errorf("1/%d: nothing is said to be left out: %+v", part, p.Cut)
		}
		n := 0
		data.leaves(func(l *pageLeaf) {
			if n++; l.kind != tree.KindPresent || l.rights != 0xb && l.known {
				t.Fatalf("%+v", l)
			}
		})
		if p.Cut.Summarized == 0 && n != 64*512 {
			t.Errorf("1/%d: %d entries", part, n)
		}
	}
	p, _ := Draw(t.Context(), o.Tree, 0)
	if _, err := p.Pack(NewInfo(o.Tree, o.RootWhy, nil, nil), 100); err == nil {
		t.Error("a page of 100 bytes")
	}
}

// processPage makes the page of a process whose tables are the session's.
func processPage(t *testing.T, o *session.Session, p *proc.Process) (*Info, []byte) {
	t.Helper()
	info := NewInfo(o.Tree, o.RootWhy, p, &space.Machine{Procs: &proc.Processes{}})
	var err error
	tally := entries.NewTally(o.Tree)
	if err = info.AddAtlas(t.Context(), o.Tree, &tally); err != nil {
		t.Fatal(err)
	}
	pic, err := Draw(t.Context(), o.Tree, 0)
	if err != nil {
		t.Fatal(err)
	}
	data, err := pic.Pack(info, 0)
	if err != nil {
		t.Fatal(err)
	}
	page, err := info.Page(data)
	if err != nil {
		t.Fatal(err)
	}
	return info, page
}

// TestMapHostileNames: texts from the capture never become markup.
func TestMapHostileNames(t *testing.T) {
	const evil = "</script><img src=x onerror=alert(1)>\x00\x1b[31m\u202e\xff<!--"
	o := capturetest.Open(t, nonsenseCapture(t), "cr3")
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
	svg := string(info.SVG())
	capturetest.XMLText(t, svg)
	if strings.Contains(svg, "<img") {
		t.Error("the picture holds markup of the capture")
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
