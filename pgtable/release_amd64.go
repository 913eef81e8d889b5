//go:build !race && !purego

package pgtable

// storeRelease stores v. Whatever was read or written before is done before. On x86 any store is such a store, while
// sync/atomic only has one that also keeps later reads behind it, which takes as long as taking the lock did.
//
//go:noescape
func storeRelease(p *uint32, v uint32)

// fetch has the line of p brought to the cache. Nothing waits for it.
//
//go:noescape
func fetch(p *uint32)
