// Command capture boots a prepared kernel in QEMU with the guest program as init,
// stops it when the guest spins in user mode, and writes the machine's memory in every
// format that QEMU has, with what guest and QEMU say of the page tables beside it.
//
// All of one capture is taken at the same stopped instant. Before a capture is kept,
// every pagemap word of the guest is held against QEMU's own walk, so that a broken
// truth is found here and not in the tests that rely on it.
//
// Usage: capture [-list [-usual] [VARIANT...]] [-kernels DIR] [-out DIR] [-timeout D] VARIANT...
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	kernels := flag.String("kernels", "", "folder with prepared kernels (capture.sh prepare)")
	out := flag.String("out", "", "folder that the captures go to")
	list := flag.Bool("list", false, "print the variants, or those named: name, kernel, what is special")
	isUsual := flag.Bool("usual", false, "with -list: only those that are made when none is named")
	timeout := flag.Duration("timeout", 10*time.Minute, "time that one capture may take")
	flag.Parse()
	if *list {
		if err := printVariants(*isUsual, flag.Args()); err != nil {
			fmt.Fprintf(os.Stderr, "capture: %v\n", err)
			os.Exit(1)
		}
		return
	}
	if *kernels == "" || *out == "" || flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	for _, name := range flag.Args() {
		if err := captureOne(ctx, name, *kernels, *out, *timeout); err != nil {
			fmt.Fprintf(os.Stderr, "capture %s: %v\n", name, err)
			os.Exit(1)
		}
	}
}

// printVariants lists those named, or all.
func printVariants(isUsual bool, names []string) error {
	listed := variants
	if isUsual {
		listed = usual()
	}
	if len(names) > 0 {
		listed = nil
	}
	for _, name := range names {
		v, err := findVariant(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		listed = append(listed, v)
	}
	for _, v := range listed {
		fmt.Printf("%s\t%s\t%s\n", v.name, v.kernel, v.what)
	}
	return nil
}

// captureOne replaces the variant's folder when, and only when, everything went well.
func captureOne(ctx context.Context, name, kernels, out string, timeout time.Duration) error {
	v, err := findVariant(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not done after %v", timeout))
	defer cancel()
	began := time.Now()
	final := filepath.Join(out, name)
	dir := final + ".new"
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	sum, err := takeCapture(ctx, v, filepath.Join(kernels, v.kernel), dir)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return fmt.Errorf("%w (%v)", err, cause)
		}
		return err
	}
	if err := os.RemoveAll(final); err != nil {
		return err
	}
	if err := os.Rename(dir, final); err != nil {
		return err
	}
	fmt.Printf("%s: %s, %v\n", name, sum, time.Since(began).Round(time.Second))
	return nil
}

func takeCapture(ctx context.Context, v variant, kernel, dir string) (checkSum, error) {
	m, err := startMachine(ctx, v, kernel)
	if err != nil {
		return checkSum{}, err
	}
	defer m.close()
	if err := m.waitReady(ctx); err != nil {
		return checkSum{}, err
	}
	stopped, err := m.stopInUserMode(ctx)
	if err != nil {
		return checkSum{}, err
	}
	t, err := m.collectTruth(ctx, stopped)
	if err != nil {
		return checkSum{}, err
	}
	sum, err := check(t.guestLog, t.tlb[0])
	if err != nil && !(v.mode == manyMode && errors.Is(err, errNoWords)) {
		return checkSum{}, fmt.Errorf("guest and QEMU disagree: %w", err)
	}
	if sum.frames, err = checkFrames(t.guestLog); err != nil {
		return checkSum{}, fmt.Errorf("the guest disagrees with itself: %w", err)
	}
	if err := t.write(dir); err != nil {
		return checkSum{}, err
	}
	if err := m.dumpAll(ctx, dir, t.guestLog); err != nil {
		return checkSum{}, err
	}
	about := fmt.Sprintf("%s\nQEMU %s\n%s\nkernel command line: %s\n%s\n",
		v.what, t.qemuVersion, strings.Join(v.qemuArgs(), " "), v.kernelArgs(), sum)
	return sum, os.WriteFile(filepath.Join(dir, "variant.txt"), []byte(about), 0o644)
}
