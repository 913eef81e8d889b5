package ktype

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

func parsed(t testing.TB, types ...btf.Type) *Types {
	t.Helper()
	k, err := Parse(marshal(t, types...))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestMember(t *testing.T) {
	k := parsed(t, sample()...)
	for _, c := range []struct {
		typ, path string
		want      Member
	}{
		{"outer", "first", Member{Offset: 0, Size: 8}},
		{"outer", "left", Member{Offset: 8, Size: 8}},
		{"outer", "right", Member{Offset: 8, Size: 8}},
		{"outer", "in", Member{Offset: 16, Size: 16}},
		{"outer", "in.b", Member{Offset: 24, Size: 8}},
		{"outer_t", "in.a", Member{Offset: 16, Size: 4}},
		{"inner", "b", Member{Offset: 8, Size: 8}},
		{"outer", "text", Member{Offset: 32, Size: 16, Count: 16}},
		{"outer", "low", Member{Offset: 48, Bits: 5, Shift: 3}},
		{"outer", "grid", Member{Offset: 52, Size: 24, Count: 2}},
		{"outer", "flexible", Member{Offset: 96}},
	} {
		got, err := k.Member(c.typ, c.path)
		got.typ = 0
		if err != nil || got != c.want {
			t.Errorf("%s.%s: %+v, %v; want %+v", c.typ, c.path, got, err, c.want)
		}
		off, err := k.Offset(c.typ, c.path)
		if (err == nil) != (c.want.Bits == 0) || err == nil && off != c.want.Offset {
			t.Errorf("Offset(%s.%s) = %d, %v", c.typ, c.path, off, err)
		}
	}
	for _, c := range [][2]string{{"outer", "none"}, {"none", "first"}, {"outer", ""}, {"outer", "first.x"}, {"outer", "in.b.c"}, {"outer", "in."}, {"big", "E_BIG"}} {
		if m, err := k.Member(c[0], c[1]); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), c[0]+"."+c[1]) {
			t.Errorf("%q: %+v, %v", c, m, err)
		}
	}
}

func TestSize(t *testing.T) {
	k := parsed(t, sample()...)
	for name, want := range map[string]uint64{"outer": 96, "outer_t": 96, "inner": 16, "flags_t": 8, "big": 8} {
		if got, err := k.Size(name); err != nil || got != want {
			t.Errorf("Size(%s) = %d, %v", name, got, err)
		}
	}
	if _, err := k.Size("void"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestValues(t *testing.T) {
	k := parsed(t, sample()...)
	want := map[string]uint64{"E_ONE": 1, "E_MINUS": ^uint64(0), "E_BIG": 1 << 40}
	if got := k.Constants("E_"); !maps.Equal(got, want) {
		t.Errorf("constants %v", got)
	}
	if got := k.Constants("F"); len(got) != 0 {
		t.Errorf("constants %v", got)
	}
	if off, ok := k.PerCPU("current_task"); !ok || off != 88 {
		t.Errorf("current_task at %d, %v", off, ok)
	}
	if _, ok := k.PerCPU("other"); ok {
		t.Error("a per-CPU variable that is none")
	}
}

// TestSameName: two structures of one name must agree on what both have.
func TestSameName(t *testing.T) {
	one := &btf.Struct{Name: "twice", Size: 16, Members: []btf.Member{{Name: "a", Type: tU64}, {Name: "b", Type: tU64, Offset: 64}}}
	other := &btf.Struct{Name: "twice", Size: 24, Members: []btf.Member{{Name: "a", Type: tU64}, {Name: "b", Type: tU64, Offset: 128}, {Name: "c", Type: tU64, Offset: 64}}}
	k := parsed(t, &btf.Typedef{Name: "twice", Type: tU32}, one, other)
	for path, want := range map[string]uint64{"a": 0, "c": 8} {
		if got, err := k.Offset("twice", path); err != nil || got != want {
			t.Errorf("%s: %d, %v", path, got, err)
		}
	}
	if got, err := k.Offset("twice", "b"); !errors.Is(err, ErrFormat) {
		t.Errorf("b: %d, %v", got, err)
	}
}

func TestParseErrors(t *testing.T) {
	good := marshal(t, sample()...)
	change := func(off int, v uint32) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint32(b[off:], v)
		return b
	}
	const typeLen, strOff, strLen, firstInfo = 12, 16, 20, headerSize + 4
	for name, b := range map[string][]byte{
		"nothing":       nil,
		"half a header": good[:headerSize-1],
		"other magic":   change(0, 0xeb9e),
		"short header":  change(4, 8),
		"long header":   change(4, 1<<31),
		"cut off":       good[:len(good)-1],
		"many types":    change(typeLen, 1<<30),
		"no types":      change(typeLen, 0),
		"no names":      change(strLen, 0),
		"names far off": change(strOff, 1<<31),
		"names end":     change(strLen, binary.LittleEndian.Uint32(good[strLen:])-1),
		"kind 31":       change(firstInfo, 31<<24),
		"kind 0":        change(firstInfo, 0),
		"long type":     change(firstInfo, kindStruct<<24|0xffff),
	} {
		if k, err := Parse(b); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v, %v", name, k, err)
		}
	}
	if n, err := Size(good); err != nil || n != uint64(len(good)) {
		t.Errorf("Size = %d, %v; want %d", n, err, len(good))
	}
	if _, err := Parse(append(bytes.Clone(good), 1, 2, 3)); err != nil {
		t.Errorf("with more behind it: %v", err)
	}
}

// raw makes type information of types as they stand in it, with the name "s" at offset 1.
func raw(types ...[]byte) []byte {
	all := bytes.Join(types, nil)
	b := []byte(Magic)
	for _, n := range []int{headerSize, 0, len(all), len(all), 3} {
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	return append(append(b, all...), 0, 's', 0)
}

func words(w ...uint32) []byte {
	var b []byte
	for _, v := range w {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// TestHostile: types that refer to themselves, and to more than there is.
func TestHostile(t *testing.T) {
	const n = 1000
	bomb := words(1, kindStruct<<24|n, 8)
	for range n {
		bomb = append(bomb, words(0, 1, 0)...)
	}
	for name, b := range map[string][]byte{
		"structure in itself":      raw(bomb),
		"typedef of itself":        raw(words(1, kindTypedef<<24, 1)),
		"array of itself":          raw(words(1, kindTypedef<<24, 2), words(0, kindArray<<24, 0, 2, 2, 1<<31)),
		"member of no type":        raw(words(1, kindStruct<<24|1, 8), words(0, 77, 0)),
		"name behind all names":    raw(words(9999, kindStruct<<24|1, 8), words(9999, 1, 0)),
		"per-CPU variable of none": raw(words(1, kindDatasec<<24|1, 8), words(5, 0, 8)),
	} {
		k, err := Parse(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if m, err := k.Member("s", "x"); !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
		k.Size("s")
		k.PerCPU("s")
		k.Constants("s")
	}
}

// TestLongChain: as many pointers to pointers as fit are no problem.
func TestLongChain(t *testing.T) {
	const n = 500_000
	b := make([]byte, 0, n*typeSize)
	b = append(b, words(1, kindStruct<<24|1, 8, 1, 2, 0)...)
	for i := range uint32(n) {
		b = append(b, words(0, kindPointer<<24, i+3)...)
	}
	k, err := Parse(raw(b))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := k.Member("s", "s"); err != nil || m.Size != 8 {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := Parse(raw(bytes.Repeat(words(0, kindPointer<<24, 1), maxTypes+1))); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}

// FuzzTypes: type information is refused, or every question gets an answer.
func FuzzTypes(f *testing.F) {
	f.Add(marshal(f, sample()...))
	f.Add(raw(words(1, kindStruct<<24|1, 8, 0, 1, 0)))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		for name := range k.tags {
			for _, path := range []string{"a", "in.b", "x", "text", "s"} {
				if _, err := k.Member(name, path); err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrFormat) {
					t.Fatal(err)
				}
			}
			k.Size(name)
		}
		k.Constants("E")
		k.PerCPU("current_task")
	})
}
