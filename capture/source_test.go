package capture

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"ptemu/arch/x86"
)

// TestMappingRenewed: readers that go at once all read what the file holds, while it is mapped anew many times.
func TestMappingRenewed(t *testing.T) {
	const size = 4 << 20
	want := make([]byte, size)
	for i := range want {
		want[i] = byte(i>>12) ^ byte(i)
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, want, 0o600); err != nil {
		t.Fatal(err)
	}
	src, err := openSource(path)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	m := src.ReaderAt.(*mapping)
	first := m.m
	var readers sync.WaitGroup
	for r := range 4 {
		readers.Go(func() {
			got := make([]byte, x86.PageSize)
			for i := range 1000 {
				off := (i*7 + r*31) % (size / x86.PageSize) * x86.PageSize
				if _, err := src.ReadAt(got, int64(off)); err != nil || !bytes.Equal(got, want[off:off+len(got)]) {
					t.Errorf("offset %#x: wrong bytes, error %v", off, err)
					return
				}
			}
		})
	}
	readers.Wait()
	if m.m == first {
		t.Error("the file was never mapped anew")
	}
	if err := os.WriteFile(path+".new", []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	now := m.m
	m.touched.Store(renewAfter + 1)
	m.renew()
	if m.m != now {
		t.Error("another file took the place of the one that was opened")
	}
}
