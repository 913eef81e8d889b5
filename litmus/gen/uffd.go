package gen

import "ptemu/litmus"

// openUffd opens the userfaultfd of a process.
func (m *maker) openUffd(process string) bool {
	op := litmus.Op{Verb: "uffd"}
	for _, feature := range []string{"wp-unpopulated", "wp-async"} {
		if m.chance(30) {
			op.Options = append(op.Options, word(feature))
		}
	}
	m.uffd[process] = true
	return m.add(process, op)
}

func (m *maker) register(process string, r region) bool {
	op := litmus.Op{Verb: "uffd-register", At: m.span(r)}
	if m.chance(60) {
		op.At = litmus.Pages{Region: r.name, Whole: true}
	}
	mode := m.r.IntN(4)
	if mode != 1 {
		op.Options = append(op.Options, word("wp"))
	}
	if mode <= 1 {
		op.Options = append([]litmus.Option{word("missing")}, op.Options...)
	}
	return m.add(process, op)
}

var userfaults = []func(m *maker, process string, r region) bool{
	(*maker).register,
	func(m *maker, process string, r region) bool {
		return m.add(process, litmus.Op{Verb: "uffd-unregister", At: m.span(r)})
	},
	(*maker).wpRange, (*maker).wpRange, (*maker).wpRange,
	func(m *maker, process string, r region) bool {
		return m.add(process, litmus.Op{Verb: "uffd-resolve", At: m.span(r)})
	},
	func(m *maker, process string, r region) bool {
		op := litmus.Op{Verb: "uffd-copy", At: m.few(r), Options: []litmus.Option{number("=", m.r.Uint64N(256))}}
		if m.chance(40) {
			op.Options = append(op.Options, word("wp"))
		}
		return m.add(process, op)
	},
	func(m *maker, process string, r region) bool {
		return m.add(process, litmus.Op{Verb: "uffd-zero", At: m.few(r)})
	},
	func(m *maker, process string, r region) bool {
		return m.add(process, litmus.Op{Verb: "uffd-poison", At: m.few(r)})
	},
	(*maker).move,
	func(m *maker, process string, r region) bool {
		return m.add(process, litmus.Op{Verb: "scan-protect", At: m.span(r)})
	},
}

func (m *maker) wpRange(process string, r region) bool {
	return m.add(process, litmus.Op{Verb: "uffd-protect", At: m.span(r)})
}

// userfault makes one of the operations of userfaultfd.
func (m *maker) userfault(process string, r region) bool {
	if !m.uffd[process] {
		if process != litmus.DefaultProcess && m.chance(70) {
			return false
		}
		return m.openUffd(process) && m.register(process, r)
	}
	return pick(m, userfaults)(m, process, r)
}

// move moves pages to another region.
func (m *maker) move(process string, r region) bool {
	to := pick(m, m.regions)
	if to.name == r.name || to.huge != r.huge {
		return false
	}
	n := 1 + m.r.IntN(2)
	if r.huge && m.chance(50) {
		n = hugePages
	}
	if n > r.pages || n > to.pages {
		return false
	}
	from, at := m.r.IntN((r.pages-n)/n+1)*n, m.r.IntN((to.pages-n)/n+1)*n
	op := litmus.Op{
		Verb: "uffd-move", At: litmus.Pages{Region: r.name, First: from, Last: from + n - 1},
		To: litmus.Pages{Region: to.name, First: at, Last: at + n - 1},
	}
	if m.chance(40) {
		op.Options = []litmus.Option{word("holes")}
	}
	return m.add(process, op)
}
