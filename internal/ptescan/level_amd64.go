//go:build !purego

package ptescan

import "github.com/klauspost/cpuid/v2"

// hostLevel asks the processor, and through it whether the operating system saves the registers.
func hostLevel() Level {
	switch {
	case cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512DQ, cpuid.AVX512VL, cpuid.BMI1, cpuid.BMI2, cpuid.POPCNT, cpuid.LZCNT):
		return AVX512
	case cpuid.CPU.Supports(cpuid.AVX2, cpuid.BMI1, cpuid.BMI2, cpuid.POPCNT, cpuid.LZCNT):
		return AVX2
	}
	return Generic
}
