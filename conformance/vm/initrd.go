//go:build linux && amd64

package vm

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
)

// writeInitrd makes an init file system: the agent as /init, and the modules in the order of their names.
func writeInitrd(path, agent, modules string) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	a := &archive{w: bufio.NewWriter(out)}
	const folder, program, device = 0o040755, 0o100755, 0o020600
	for _, dir := range []string{"dev", "proc", "sys", "modules"} {
		a.add(dir, folder, nil, 0, 0)
	}
	a.add("dev/console", device, nil, 5, 1)
	text, err := os.ReadFile(agent)
	if err != nil {
		return fmt.Errorf("agent: %w", ErrNotPrepared)
	}
	a.add("init", program, text, 0, 0)
	files, err := filepath.Glob(filepath.Join(modules, "*.ko"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if text, err = os.ReadFile(file); err != nil {
			return err
		}
		a.add("modules/"+filepath.Base(file), program, text, 0, 0)
	}
	a.add("TRAILER!!!", 0, nil, 0, 0)
	if err := a.w.Flush(); err != nil {
		return err
	}
	return out.Close()
}

// archive writes a cpio archive of the "newc" form. The writer keeps the first error.
type archive struct {
	w     *bufio.Writer
	inode int
}

// add writes a file. Major and minor are those of a device.
//
// Linux: Documentation/driver-api/early-userspace/buffer-format.rst
func (a *archive) add(name string, mode uint32, text []byte, major, minor int) {
	a.inode++
	fmt.Fprintf(a.w, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		a.inode, mode, 0, 0, 1, 0, len(text), 0, 0, major, minor, len(name)+1, 0)
	const header = 110
	a.w.WriteString(name)
	a.w.WriteByte(0)
	a.pad(header + len(name) + 1)
	a.w.Write(text)
	a.pad(len(text))
}

// pad fills up to a multiple of four.
func (a *archive) pad(n int) {
	for ; n%4 != 0; n++ {
		a.w.WriteByte(0)
	}
}
