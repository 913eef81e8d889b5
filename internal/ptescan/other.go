//go:build !amd64 || purego

package ptescan

// No level but Generic is ever chosen here, so nothing of this is called.

func changeAVX512(*Table, uint64, uint64, *Bitmap, *Table, *Change, *Changed) {}
func changeAVX2(*Table, uint64, uint64, *Bitmap, *Table, *Change, *Changed)   {}

func copyAVX512(t, child *Table, first, last uint64, c *Copy, r *Copied) {}
func copyAVX2(t, child *Table, first, last uint64, c *Copy, r *Copied)   {}

func harvestAVX512(t *Table, first, last uint64, h *harvestParams, r *Harvested) {}
func harvestAVX2(t *Table, first, last uint64, h *harvestParams, r *Harvested)   {}

func zapAVX512(t, saved *Table, first, last uint64, z *zapParams, r *Zapped) {}
func zapAVX2(t, saved *Table, first, last uint64, z *zapParams, r *Zapped)   {}

func sortAVX512(t *Table, k *kindsParams, r *Sorted) {}
func sortAVX2(t *Table, k *kindsParams, r *Sorted)   {}

func breaksAVX512(t *Table, prev uint64, p *runsParams, breaks *Bitmap) uint64 { return 0 }
func breaksAVX2(t *Table, prev uint64, p *runsParams, breaks *Bitmap) uint64   { return 0 }
