//go:build !amd64 || race || purego

package pgtable

import "sync/atomic"

func storeRelease(p *uint32, v uint32) { atomic.StoreUint32(p, v) }

func fetch(*uint32) {}
