//go:build linux && amd64

package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"ptemu/arch/x86"
	"ptemu/conformance/vm"
	"ptemu/conformance/wire"
	"ptemu/swapentry"
)

// Kernel is a booted kernel. One program runs on it at a time. Close it.
type Kernel struct {
	cfg    Config
	m      *vm.Machine
	abi    *x86.ABI
	layout *swapentry.Layout
	init   *vm.Slot
	this   bool   // the kernel that we ourselves run on: see OnThis
	orders uint64 // of large folios that are on
	cold   uint64 // address of a page of process 1 that is for Settle, 0: not yet
	fatal  error  // after which the machine is of no more use
	guest
}

// guest is what the guest has, and how it is set up now.
type guest struct {
	disk, damon, pkeys bool
	held               []uint64 // descriptors in process 1 that hold pages
	swapless           bool     // nothing swaps
	ksmSleep           int      // changed to wake ksmd
}

// Open boots the kernel. The error wraps [vm.ErrNotPrepared] if there is none.
func Open(ctx context.Context, c Config) (*Kernel, error) {
	if c.Cache == "" {
		c.Cache = DefaultCache()
	}
	if c.Agent == "" {
		c.Agent = filepath.Join(c.Cache, "agent")
	}
	k := &Kernel{cfg: c}
	if err := k.boot(ctx); err != nil {
		return nil, err
	}
	return k, nil
}

// boot starts a machine.
func (k *Kernel) boot(ctx context.Context) error {
	c := k.cfg
	m, err := vm.Boot(ctx, vm.Config{Kernels: filepath.Join(c.Cache, "kernels"), Version: c.Kernel, Agent: c.Agent, Levels: c.levels(), PTI: c.PTI})
	if err != nil {
		return err
	}
	*k = Kernel{cfg: c, m: m, init: m.Slot(0)}
	if err := k.setUp(); err != nil {
		k.fatal = err
		return errors.Join(err, m.Close())
	}
	return nil
}

// reboot replaces a machine that is of no more use.
func (k *Kernel) reboot(ctx context.Context) error {
	if k.this {
		return k.fatal
	}
	return errors.Join(k.m.Close(), k.boot(ctx))
}

func (k *Kernel) setUp() error {
	features, err := x86.KernelNamed(k.cfg.Kernel)
	if err != nil {
		return err
	}
	features.DevicePrivate = k.hasDevicePrivate()
	if k.abi, err = x86.NewABI(features, x86.DefaultPaging(k.cfg.levels())); err != nil {
		return err
	}
	k.layout = swapentry.NewLayout(k.abi)
	return k.look()
}

// look learns what the guest has.
func (k *Kernel) look() error {
	mounts, err := k.read("/proc/mounts")
	if err != nil {
		return err
	}
	k.disk = bytes.Contains(mounts, []byte(" /disk ext4 "))
	processor, err := k.read("/proc/cpuinfo")
	if err != nil {
		return err
	}
	k.pkeys = bytes.Contains(processor, []byte(" ospke"))
	_, err = k.read(damonFolder + "nr_kdamonds")
	k.damon = err == nil
	return k.khugepagedStrict()
}

// hasDevicePrivate reports CONFIG_DEVICE_PRIVATE: as the kernel's configuration says if it comes with one. Of Debian's
// kernels those without the file have it.
func (k *Kernel) hasDevicePrivate() bool {
	config, err := os.ReadFile(filepath.Join(k.cfg.Cache, "kernels", k.cfg.Kernel, "config"))
	return err != nil || bytes.Contains(config, []byte("\nCONFIG_DEVICE_PRIVATE=y\n"))
}

// Release returns the kernel's full release.
func (k *Kernel) Release() string { return k.m.Release }

// Close ends the machine.
func (k *Kernel) Close() error { return k.m.Close() }

// ring has process 1 do something.
func (k *Kernel) ring(op uint64, args ...uint64) error {
	if k.fatal != nil {
		return k.fatal
	}
	if err := k.init.Ring(op, args...); err != nil {
		k.fatal = fmt.Errorf("the machine is lost: %w", err)
		return k.fatal
	}
	return nil
}

// write writes to a file of the guest, as process 1.
func (k *Kernel) write(name, text string) error {
	n := copy(k.init.Data(), name)
	k.init.Data()[n] = 0
	copy(k.init.Data()[n+1:], text)
	if err := k.ring(wire.OpWrite, uint64(len(text))); err != nil {
		return err
	}
	return errnoError(k.init.Word(wire.Result))
}

// read reads a file of the guest, as process 1.
func (k *Kernel) read(name string) ([]byte, error) {
	n := copy(k.init.Data(), name)
	k.init.Data()[n] = 0
	if err := k.ring(wire.OpRead); err != nil {
		return nil, err
	}
	r := k.init.Word(wire.Result)
	if err := errnoError(r); err != nil {
		return nil, err
	}
	return k.m.Text(int(r)), nil
}

// Live is a socket of QEMU's machine protocol that nobody uses.
func (k *Kernel) Live() string { return k.m.Live() }

// Console returns what the guest has printed.
func (k *Kernel) Console() []byte { return k.m.Console() }
