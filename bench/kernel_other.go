//go:build !linux

package bench

// kernel measures the running kernel, if it is Linux.
func (s *Set) kernel(kernelCall) Variant { return skipped("kernel", Kernel, "this is not Linux") }
