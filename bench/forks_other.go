//go:build !linux

package bench

// ServeForks does nothing where the kernel is not Linux.
func ServeForks() (served bool, err error) { return false, nil }
