package ktype

import (
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf/btf"
)

var (
	tU32 = &btf.Int{Name: "unsigned int", Size: 4}
	tU64 = &btf.Int{Name: "unsigned long", Size: 8}
	tPtr = &btf.Pointer{Target: &btf.Void{}}
)

// marshal makes type information of these types, by another implementation than ours.
func marshal(t testing.TB, types ...btf.Type) []byte {
	t.Helper()
	b, err := btf.NewBuilder(types, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := b.Marshal(nil, &btf.MarshalOptions{Order: binary.LittleEndian})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sample has one of each thing that is asked for.
func sample() []btf.Type {
	inner := &btf.Struct{Name: "inner", Size: 16, Members: []btf.Member{{Name: "a", Type: tU32}, {Name: "b", Type: tU64, Offset: 64}}}
	flags := &btf.Const{Type: &btf.Typedef{Name: "flags_t", Type: tU64}}
	anonymous := &btf.Struct{Size: 24, Members: []btf.Member{
		{Name: "", Type: &btf.Union{Size: 8, Members: []btf.Member{{Name: "left", Type: tU64}, {Name: "right", Type: tPtr}}}},
		{Name: "in", Type: &btf.Volatile{Type: inner}, Offset: 64},
	}}
	outer := &btf.Struct{Name: "outer", Size: 96, Members: []btf.Member{
		{Name: "first", Type: flags},
		{Name: "", Type: anonymous, Offset: 64},
		{Name: "text", Type: &btf.Array{Index: tU32, Type: &btf.Int{Name: "char", Size: 1}, Nelems: 16}, Offset: 8 * 32},
		{Name: "low", Type: tU32, Offset: 8*48 + 3, BitfieldSize: 5},
		{Name: "grid", Type: &btf.Array{Index: tU32, Type: &btf.Array{Index: tU32, Type: tU32, Nelems: 3}, Nelems: 2}, Offset: 8 * 52},
		{Name: "flexible", Type: &btf.Array{Index: tU32, Type: tU64, Nelems: 0}, Offset: 8 * 96},
	}}
	current := &btf.Var{Name: "current_task", Type: tPtr, Linkage: btf.GlobalVar}
	return []btf.Type{outer, &btf.Typedef{Name: "outer_t", Type: outer}, current,
		&btf.Datasec{Name: ".data..percpu", Size: 128, Vars: []btf.VarSecinfo{{Type: current, Offset: 88, Size: 8}}},
		&btf.Enum{Size: 4, Signed: true, Values: []btf.EnumValue{{Name: "E_ONE", Value: 1}, {Name: "E_MINUS", Value: ^uint64(0)}}},
		&btf.Enum{Name: "big", Size: 8, Values: []btf.EnumValue{{Name: "E_BIG", Value: 1 << 40}}},
	}
}
