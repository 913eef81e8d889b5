//go:build !invariants && !race

package pgtable

// watch does nothing here; see the other one.
type watch struct{}

func (*watch) start()   {}
func (*watch) owe(bool) {}
