//go:build !amd64 || purego

package bench

import "ptemu/internal/ptescan"

func bares(kind FloorKind, _ ptescan.Level) []bare { return plainBares(kind) }

func copies(ptescan.Level) []bare { return plainCopies() }
