//go:build invariants || race

package pgtable

import (
	"runtime"
	"testing"
	"time"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// TestDroppedGather: a gather with debts is missed when it is dropped, one without is not.
func TestDroppedGather(t *testing.T) {
	ram, err := physmem.NewRAM(0, 512)
	if err != nil {
		t.Fatal(err)
	}
	defer ram.Close()
	tree, err := New(ram, x86.MustABI(x86.Linux7_2(), x86.DefaultPaging(4)))
	if err != nil {
		t.Fatal(err)
	}
	noticed := make(chan bool, 9)
	notice := func() { noticed <- true }
	dropped.Store(&notice)
	defer dropped.Store(nil)
	start := func(n int) {
		gathers := make([]Gather, n)
		for i := range gathers {
			gathers[i].Start(tree, nil)
			if i%2 == 0 {
				gathers[i].Range(Range{0, 0xfff}, x86.LevelPTE)
			}
			if i == 2 {
				if err := gathers[i].Finish(); err != nil {
					t.Error(err)
				}
			}
		}
	}
	start(4)
	for deadline := time.Now().Add(10 * time.Second); len(noticed) == 0 && time.Now().Before(deadline); {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	for range 5 {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	if n := len(noticed); n != 1 {
		t.Errorf("%d dropped gathers noticed, want 1", n)
	}
}
