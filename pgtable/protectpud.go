package pgtable

// pud changes slot s, where a 1 GiB leaf stands.
//
// Linux: mm/mprotect.c:change_pud_range()
func (w *protector) pud(s *PMDSlot) error {
	h, ok := w.p.Huge.(HugePUDs)
	if !ok {
		return &AddrError{s.First, ErrHuge}
	}
	done, err := w.changePUD(h, s)
	switch {
	case err != nil:
		return &AddrError{s.First, err}
	case done:
		return nil
	case w.p.populate:
		return w.populating(s.Range)
	}
	return w.t.EachPMD(s.Range, false, func(s PMDSlot) error { return w.slot(&s) })
}

// changePUD changes the leaf, or takes it away, and reports whether that is all; else what is there now comes next.
func (w *protector) changePUD(h HugePUDs, s *PMDSlot) (done bool, err error) {
	switch {
	case !w.t.abi.Kernel().ProtectPUDs:
		return true, h.BadPUD(w.t, s.First)
	case !s.Whole() || w.p.split:
		return false, h.SplitPUD(w.g, s.First)
	}
	n, err := h.ChangePUD(w.g, s.First, w.p)
	if n > 1 {
		w.pages += int64(n)
	}
	return n != 0, err
}
