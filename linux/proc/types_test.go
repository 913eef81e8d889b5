package proc

import (
	"bytes"
	"context"
	"testing"

	"github.com/cilium/ebpf/btf"

	"ptemu/linux/ktype"
)

// TestTypesOfCaptures compares where the members of all structures lie with what another implementation makes of the
// same type information.
func TestTypesOfCaptures(t *testing.T) {
	for _, dir := range wholeCaptures {
		t.Run(dir, func(t *testing.T) {
			m := openMachine(t, sharedCapture(t, dir, "full.kdump-zlib"))
			f := newFinder(context.Background(), m.Mem, m.sys, Options{})
			if err := f.ready(); err != nil {
				t.Fatal(err)
			}
			start, _ := f.symbol("__start_BTF")
			end, _ := f.symbol("__stop_BTF")
			blob := make([]byte, end-start)
			if err := f.mem.ReadAt(blob, start); err != nil {
				t.Fatal(err)
			}
			spec, err := btf.LoadSpecFromReader(bytes.NewReader(blob))
			if err != nil {
				t.Fatal(err)
			}
			byName := map[string][]btf.Type{}
			for typ, err := range spec.All() {
				if err != nil {
					t.Fatal(err)
				}
				switch typ.(type) {
				case *btf.Struct, *btf.Union, *btf.Enum:
					byName[typ.TypeName()] = append(byName[typ.TypeName()], typ)
				}
			}
			structs, members := 0, 0
			for name, same := range byName {
				s, ok := same[0].(*btf.Struct)
				if len(same) > 1 || name == "" || !ok {
					continue
				}
				structs++
				if n, err := f.types.Size(name); err != nil || n != uint64(s.Size) {
					t.Fatalf("%s: size %d, %v; want %d", name, n, err, s.Size)
				}
				members += checkMembers(t, f.types, name, s.Members, 0)
			}
			t.Logf("%d structures, %d members", structs, members)
			if structs < 5000 || members < 40000 {
				t.Errorf("%d structures, %d members", structs, members)
			}
		})
	}
}

// checkMembers compares the members of a structure and those of anonymous structures in it, and returns how many they are.
func checkMembers(t *testing.T, types *ktype.Types, name string, members []btf.Member, base btf.Bits) int {
	n := 0
	for _, m := range members {
		if m.Name == "" {
			switch in := btf.UnderlyingType(m.Type).(type) {
			case *btf.Struct:
				n += checkMembers(t, types, name, in.Members, base+m.Offset)
			case *btf.Union:
				n += checkMembers(t, types, name, in.Members, base+m.Offset)
			}
			continue
		}
		n++
		got, err := types.Member(name, m.Name)
		if at := uint64(base + m.Offset); err != nil || got.Offset != at/8 || uint64(got.Shift) != at%8 || got.Bits != uint(m.BitfieldSize) {
			t.Fatalf("%s.%s: %+v, %v; want bit %d, %d bits", name, m.Name, got, err, at, m.BitfieldSize)
		}
		if size, err := btf.Sizeof(m.Type); err == nil && m.BitfieldSize == 0 && got.Size != uint64(size) {
			t.Fatalf("%s.%s: %d bytes, want %d", name, m.Name, got.Size, size)
		}
	}
	return n
}
