//go:build linux && amd64

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestExt2: e2fsck finds nothing wrong with the file system that the agent makes.
func TestExt2(t *testing.T) {
	fsck, err := exec.LookPath("e2fsck")
	for _, path := range []string{"/usr/sbin/e2fsck", "/sbin/e2fsck"} {
		if err != nil {
			fsck, err = exec.LookPath(path)
		}
	}
	if err != nil {
		t.Skip("no e2fsck (package e2fsprogs)")
	}
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(disk, diskPages*blockSize); err != nil {
		t.Fatal(err)
	}
	if err := writeExt2(disk, diskPages); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(fsck, "-f", "-n", disk).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
