package picture

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
	"ptemu/pgtable"
)

// pageData is what the program of the page reads, read by other means than those that wrote it.
type pageData struct {
	info struct {
		Levels  int
		Classes []struct {
			L int
			K string
			R int
			S int
			P int
			F int
			B string
			M string
			I bool
			T string
			E string
			Y bool
		}
		Forms [][64]string
	}
	tables []pageTable
	byKey  map[string]int
	cut    int // entries without a number, and tables without entries
}

type pageTable struct {
	level, upper, detail int
	pfn                  uint64
	class                [512]int // -1: empty
	raw                  [512]uint64
	known                [512]bool // all bits are there
}

func readPictureData(t testing.TB, data string) *pageData {
	t.Helper()
	packed, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	next := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			t.Fatal("the data end early")
		}
		b = b[n:]
		return v
	}
	text := next()
	p := &pageData{byKey: map[string]int{}}
	if err := json.Unmarshal(b[:text], &p.info); err != nil {
		t.Fatal(err)
	}
	b = b[text:]
	type lengths struct{ shape, values uint64 }
	var parts []lengths
	for range next() {
		kind := next()
		tab := pageTable{level: int(kind & 7), upper: int(kind >> 3 & 1), detail: int(kind >> 4), pfn: next()}
		next() // visits
		parts = append(parts, lengths{next(), next()})
		p.byKey[pageTableKey(tab.pfn, tab.level, tab.upper)] = len(p.tables)
		p.tables = append(p.tables, tab)
	}
	shapes := b
	for _, l := range parts {
		b = b[l.shape:]
	}
	for i, l := range parts {
		p.fill(t, &p.tables[i], shapes[:l.shape], b[:l.values])
		shapes, b = shapes[l.shape:], b[l.values:]
	}
	if len(b) != 0 {
		t.Errorf("%d bytes behind the data", len(b))
	}
	return p
}

func pageTableKey(pfn uint64, level, upper int) string {
	return fmt.Sprint(pfn, "/", level, "/", upper)
}

func (p *pageData) fill(t testing.TB, tab *pageTable, shape, values []byte) {
	for i := range tab.class {
		tab.class[i] = -1
	}
	next := func(b *[]byte) uint64 {
		v, n := binary.Uvarint(*b)
		if n <= 0 {
			t.Fatal("a table ends early")
		}
		*b = (*b)[n:]
		return v
	}
	if tab.detail == int(detailSummary) {
		p.cut++
		return
	}
	at, follow := 0, int64(0)
	for range next(&shape) {
		at += int(next(&shape))
		count, id := int(next(&shape)), int(next(&shape))
		c := p.info.Classes[id]
		base, _ := strconv.ParseUint(c.B, 16, 64)
		mask, _ := strconv.ParseUint(c.M, 16, 64)
		shift := 0
		for mask != 0 && mask>>shift&1 == 0 {
			shift++
		}
		for left := 0; count > 0; count-- {
			tab.class[at] = id
			switch {
			case tab.detail != int(detailAll) && (mask != 0 || c.Y):
				p.cut++
			case c.Y:
				high := next(&values)
				tab.raw[at], tab.known[at] = high<<32|next(&values), true
			case mask == 0:
				tab.raw[at], tab.known[at] = base, true
			default:
				if left == 0 {
					left = int(next(&values))
					z := next(&values)
					follow += int64(z>>1) ^ -int64(z&1)
				}
				v := uint64(follow) << shift
				if c.I {
					v = ^v
				}
				tab.raw[at], tab.known[at] = base|v&mask, true
				follow++
				left--
			}
			at++
		}
	}
}

// pageLeaf is an entry as the page would show it.
type pageLeaf struct {
	va       x86.Virt
	level    x86.Level
	raw      uint64
	known    bool
	kind     tree.Kind
	rights   int
	state    int
	pkey     int
	meaning  string
	flags    string
	wrong    bool
	problem  bool
	depth    int
	tablePFN uint64
}

// leaves follows the entries from the root, as the page does.
func (p *pageData) leaves(use func(*pageLeaf)) {
	p.below(0, 0, pgtable.FullAccess, nil, use)
}

func (p *pageData) below(id int, va x86.Virt, above pgtable.Access, path []uint64, use func(*pageLeaf)) {
	tab := &p.tables[id]
	for _, on := range path {
		if on == tab.pfn {
			return // the walk has the loop as a problem
		}
	}
	path = append(path, tab.pfn)
	root := len(path) == 1
	for i, class := range tab.class {
		if class < 0 {
			continue
		}
		c := p.info.Classes[class]
		at := va + x86.Virt(i)<<x86.Level(tab.level).Shift()
		upper := tab.upper
		if root && i >= 256 {
			upper, at = 1, at|^x86.Virt(0)<<(x86.Level(tab.level).Shift()+9)
		}
		if c.K == string(kindLeadsOn) {
			mask, _ := strconv.ParseUint(c.M, 16, 64)
			child, ok := p.byKey[pageTableKey(tab.raw[i]&mask>>12, tab.level-1, upper)]
			if ok {
				own := pgtable.Access{W: above.W && c.R&pictureW != 0, X: above.X && c.R&pictureX != 0, U: above.U && c.R&pictureU != 0}
				p.below(child, at, own, path, use)
			}
			continue
		}
		l := pageLeaf{va: at, level: x86.Level(tab.level), raw: tab.raw[i], known: tab.known[i], kind: tree.Kind(c.K), state: c.S, pkey: c.P,
			wrong: c.E != "", problem: c.K == string(kindNoWay), tablePFN: tab.pfn}
		if c.R&pictureR != 0 {
			l.rights = pictureR
			for _, r := range [...]struct {
				bit int
				on  bool
			}{{pictureW, above.W}, {pictureX, above.X}, {pictureU, above.U}} {
				if r.on {
					l.rights |= c.R & r.bit
				}
			}
		}
		l.meaning, l.flags = p.meaning(class, l.raw), p.flags(class, l.raw)
		use(&l)
	}
}

func (p *pageData) meaning(class int, raw uint64) string {
	c := p.info.Classes[class]
	mask, _ := strconv.ParseUint(c.M, 16, 64)
	if c.I {
		raw = ^raw
	}
	n := raw & mask
	s := strings.Replace(c.T, "{pa}", fmt.Sprintf("%#x", n), 1)
	for mask != 0 && mask&1 == 0 {
		mask, n = mask>>1, n>>1
	}
	return strings.Replace(s, "{v}", fmt.Sprintf("%#x", n), 1)
}

func (p *pageData) flags(class int, raw uint64) string {
	var names []string
	for i, name := range p.info.Forms[p.info.Classes[class].F] {
		switch {
		case raw>>i&1 == 0 || strings.HasPrefix(name, "~"):
		case name == bitPresent || name == bitPkey || name == bitFrame || name == bitSlot || name == bitOffset || name == bitType:
		default:
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}
