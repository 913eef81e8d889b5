package ptescan

import (
	"testing"

	"ptemu/arch/x86"
)

// TestNoAllocations: nothing allocates.
func TestNoAllocations(t *testing.T) {
	o := &operation{layout: layouts(t)["7.2"], prot: x86.ProtReadonly, flags: x86.ChangeTryWritable, frames: someFrames}
	swap, a := swapRules(o.layout, 0, pageAnon, false), o.layout.ABI()
	forEachImpl(t, func(t *testing.T) {
		var tab, child Table
		n := testing.AllocsPerRun(100, func() {
			c, cp := NewChange(a.Change(o.prot, o.flags), swap, o.frames), NewCopy(a.Copy(0), false)
			h, z, k, runs := a.HarvestYoung(), a.Zap(0), a.Kinds(), a.Runs(0, true)
			var changed Changed
			var copied Copied
			var harvested Harvested
			var zapped Zapped
			var sorted Sorted
			var breaks Bitmap
			c.Apply(&tab, 0, 511, nil, nil, &changed)
			cp.Apply(&tab, &child, 0, 511, &copied)
			Harvest(&h, &tab, 0, 511, &harvested)
			Zap(&z, &tab, 0, 511, &child, &zapped)
			Sort(&k, &tab, &sorted)
			Breaks(&runs, &tab, 0, &breaks)
		})
		if n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}
