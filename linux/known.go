package linux

import (
	"fmt"

	"ptemu/arch/x86"
)

// Known is what the whole memory of a machine told of its kernel. A part of that memory, such as its page tables
// alone, does not tell it any more, so it is kept with the part.
type Known struct {
	Release       string      `json:"release"`
	Kernel        string      `json:"kernel"` // as [x86.KernelNamed] knows it
	DevicePrivate bool        `json:"device_private"`
	Paging        x86.Paging  `json:"paging"`
	InitMM        *x86.Phys   `json:"init_mm,omitempty"`
	KASLROffset   *uint64     `json:"kaslr_offset,omitempty"`
	Dump          *KernelDump `json:"kernel_dump,omitempty"`
}

const keptWhy = "kept with the capture, which is a part of another"

// Known returns what is known of the kernel, for [Options.Known] when a part of the memory is opened.
func (s *System) Known() *Known {
	k := &Known{
		Release: s.Release, Kernel: s.ABI.Kernel().Release, DevicePrivate: s.ABI.Kernel().DevicePrivate, Paging: s.ABI.Paging(),
		Dump: &s.kernelDump,
	}
	if s.InitMM != nil {
		k.InitMM = &s.InitMM.Kernel
	}
	if s.HasKASLROffset {
		k.KASLROffset = &s.KASLROffset
	}
	return k
}

// check reports what no machine is like.
func (k *Known) check() error {
	if k == nil {
		return nil
	}
	if err := k.Paging.Validate(); err != nil {
		return fmt.Errorf("what is %s: %w", keptWhy, err)
	}
	return nil
}
