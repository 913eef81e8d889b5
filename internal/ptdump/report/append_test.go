package report

import "testing"

func TestAppendSize(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0", 1: "1", 4096: "4K", 8192: "8K", 2 << 20: "2M", 1<<20 + 4096: "1028K", 1 << 30: "1G", 512 << 30: "512G",
		1 << 47: "128T", 1 << 63: "8E", 1000: "1000",
	} {
		if got := string(AppendSize(nil, n)); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
