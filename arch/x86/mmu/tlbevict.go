package mmu

// evictPage forgets one translation, any of them alike.
func (t *TLB) evictPage() {
	i := t.random(t.pages)
	for _, s := range t.order {
		n := len(s.pages.keys)
		if i < n {
			t.removePage(s, i)
			return
		}
		i -= n
	}
	t.removePage(&t.global, i)
}

// evictTable forgets one table.
func (t *TLB) evictTable() {
	i := t.random(t.tables)
	for _, s := range t.order {
		n := len(s.tables.keys)
		if i < n {
			t.removeTable(s, i)
			return
		}
		i -= n
	}
}

// random returns the next number of the sequence, below n.
func (t *TLB) random(n int) int {
	t.size.Seed = t.size.Seed*6364136223846793005 + 1442695040888963407
	return int(t.size.Seed >> 33 % uint64(n))
}
