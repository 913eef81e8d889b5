package kallsyms

import (
	"iter"
	"sort"

	"ptemu/arch/x86"
)

// Symbol is one line of /proc/kallsyms.
type Symbol struct {
	Addr x86.Virt
	Type byte // as nm prints it: 't' and 'T' for functions, capital for global ones
	Name string
}

// Symbols is the kernel's symbol table. It does not change; any number of goroutines may use it.
type Symbols struct {
	n      int
	tokens [256]string
	names  []byte
	nameAt []uint32 // where in names each begins
	hash   []uint32 // of each name, without its type
	addr   addresses
}

// Len returns the number of symbols.
func (s *Symbols) Len() int { return s.n }

// Encoding says in which way the addresses are stored: "absolute", "base-relative", "absolute-percpu" or
// "place-relative"; ", base derived" stands behind it if relative_base was not there to be read.
func (s *Symbols) Encoding() string { return s.addr.String() }

// At returns symbol i, in the order of their addresses. It panics unless 0 <= i < [Symbols.Len].
func (s *Symbols) At(i int) Symbol {
	typ, name := s.name(i)
	return Symbol{s.addr.at(i), typ, name}
}

// All yields the symbols in the order of their addresses.
func (s *Symbols) All() iter.Seq[Symbol] {
	return func(yield func(Symbol) bool) {
		for i := range s.n {
			if !yield(s.At(i)) {
				return
			}
		}
	}
}

// Lookup returns the address of the first symbol with a name. Static functions may share one.
func (s *Symbols) Lookup(name string) (x86.Virt, bool) {
	i := s.find(name)
	if i < 0 {
		return 0, false
	}
	return s.addr.at(i), true
}

// find returns the number of the first symbol with a name, -1 if there is none.
func (s *Symbols) find(name string) int {
	h := hashMore(hashStart, name)
	for i, other := range s.hash {
		if other != h {
			continue
		}
		if _, n := s.name(i); n == name {
			return i
		}
	}
	return -1
}

// Near returns the name of the last symbol at or below va, and how far va is behind it. Of several symbols at one address it
// returns the first. The name is "" if all symbols are above va.
func (s *Symbols) Near(va x86.Virt) (name string, off uint64) {
	i := sort.Search(s.n, func(i int) bool { return s.addr.at(i) > va }) - 1
	if i < 0 {
		return "", 0
	}
	at := s.addr.at(i)
	i = sort.Search(i, func(i int) bool { return s.addr.at(i) >= at })
	_, name = s.name(i)
	return name, uint64(va - at)
}
