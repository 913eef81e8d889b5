//go:build linux && amd64

package kernel

import (
	"ptemu/litmus"

	"golang.org/x/sys/unix"
)

// kernelOps are the verbs of what the kernel does by itself, or is asked to for all processes.
var kernelOps = map[string]opFunc{
	"ksm":        opKSM,
	"reclaim":    opReclaim,
	"khugepaged": opKhugepaged,
	"numa":       opNuma,
	"swapoff":    func(t *Target, _ *litmus.Call, _ *process) error { return t.k.swapOff() },
	"swapon":     func(t *Target, _ *litmus.Call, _ *process) error { return t.k.swapOn() },
}

// swapDevice is where the agent has the swap area.
const swapDevice = "/dev/ram0"

// swapOff ends the use of the swap area: everything comes back.
func (k *Kernel) swapOff() error {
	k.init.Data()[copy(k.init.Data(), swapDevice)] = 0
	_, err := k.call(unix.SYS_SWAPOFF, k.at(0))
	k.swapless = k.swapless || err == nil
	return err
}

// swapOn begins it again, if it has ended.
func (k *Kernel) swapOn() error {
	if !k.swapless {
		return nil
	}
	k.init.Data()[copy(k.init.Data(), swapDevice)] = 0
	_, err := k.call(unix.SYS_SWAPON, k.at(0), 0)
	k.swapless = err != nil
	return err
}
