//go:build !amd64 || purego

package ptescan

func hostLevel() Level { return Generic }
