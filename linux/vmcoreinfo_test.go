package linux

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseVMCoreInfo(t *testing.T) {
	v, err := ParseVMCoreInfo([]byte("OSRELEASE=6.12.107+deb13-amd64\n" +
		"BUILD-ID=9c54\n" +
		"\n" +
		"SYMBOL(_stext)=ffffffff8ba00000\n" +
		"OFFSET(page.flags)=8\n" +
		"SIZE(page)=64\n" +
		"LENGTH(mem_section)=262144\n" +
		"NUMBER(phys_base)=-81788928\n" +
		"NUMBER(VMALLOC_START)=0xff7289e040000000\n" +
		"NUMBER(big)=18446744073709551615\n" +
		"KERNELOFFSET=aa00000\n" +
		"WHAT(ever)=not a number=fine\n" +
		"SIZE(page)=65\n" +
		"CRASHTIME=17\n" +
		"\x00\x01 junk behind the NUL \xff"))
	if err != nil {
		t.Fatal(err)
	}
	type result struct {
		n  uint64
		ok bool
	}
	num := func(n uint64, ok bool) result { return result{n, ok} }
	sym, symOK := v.Symbol("_stext")
	phys, physOK := v.Number("phys_base")
	start, startOK := v.Number("VMALLOC_START")
	big, bigOK := v.Number("big")
	_, missing := v.Number("_stext")
	for name, c := range map[string]struct{ got, want result }{
		"symbol":       {num(uint64(sym), symOK), result{0xffffffff8ba00000, true}},
		"offset":       {num(v.Offset("page.flags")), result{8, true}},
		"size":         {num(v.Size("page")), result{64, true}}, // the first holds
		"length":       {num(v.Length("mem_section")), result{262144, true}},
		"negative":     {num(uint64(phys), physOK), result{^uint64(81788927), true}},
		"hexadecimal":  {num(uint64(start), startOK), result{0xff7289e040000000, true}},
		"64 bits":      {num(uint64(big), bigOK), result{1<<64 - 1, true}},
		"other kind":   {num(0, missing), result{}},
		"kerneloffset": {num(v.KernelOffset()), result{0xaa00000, true}},
	} {
		if c.got != c.want {
			t.Errorf("%s: %+v, want %+v", name, c.got, c.want)
		}
	}
	if v.OSRelease() != "6.12.107+deb13-amd64" || v.Cut() != "" {
		t.Errorf("release %q, cut %q", v.OSRelease(), v.Cut())
	}
	if s, ok := v.Get("WHAT(ever)"); !ok || s != "not a number=fine" {
		t.Errorf("WHAT(ever) = %q, %v", s, ok)
	}
	var none *VMCoreInfo
	if _, ok := none.Symbol("x"); ok || none.OSRelease() != "" || none.Cut() != "" {
		t.Error("a nil VMCoreInfo knows something")
	}
}

func TestParseVMCoreInfoErrors(t *testing.T) {
	for _, c := range []struct {
		text string
		line int
		msg  string
	}{
		{"", 0, "no line KEY=value"},
		{"\x00OSRELEASE=1\n", 0, "no line KEY=value"},
		{"OSRELEASE=1", 0, "no line KEY=value"}, // cut off
		{"A=1\nnonsense\n", 2, "not KEY=value"},
		{"A=1\n\n=1\n", 3, "not KEY=value"},
		{"A=1\nB=\x01\n", 2, "control character"},
		{"SYMBOL(x)=0xzz\n", 1, "not a number"},
		{"A=1\nSYMBOL(x)=10000000000000000\n", 2, "not a number"}, // 65 bits
		{"NUMBER(x)=-9223372036854775809\n", 1, "not a number"},
		{"SIZE(x=1\n", 1, "no closing parenthesis"},
		{"LENGTH(x)=\n", 1, "not a number"},
		{strings.Repeat("A=1\n", maxVMCoreInfo/4) + "\n", 0, "at most"},
	} {
		v, err := ParseVMCoreInfo([]byte(c.text))
		var e *VMCoreInfoError
		if v != nil || !errors.As(err, &e) || !errors.Is(err, ErrVMCoreInfo) {
			t.Errorf("%.40q: %v, %v", c.text, v, err)
			continue
		}
		if e.Line != c.line || !strings.Contains(err.Error(), c.msg) {
			t.Errorf("%.40q: %v, want line %d: %s", c.text, err, c.line, c.msg)
		}
	}
	v, err := ParseVMCoreInfo([]byte("A=1\nSYMBOL(x)=ffff"))
	if err != nil || v.Cut() != "SYMBOL(x)=ffff" {
		t.Fatalf("cut line: %v", err)
	}
	if _, ok := v.Symbol("x"); ok {
		t.Error("a number cut off was used")
	}
}

// TestVMCoreInfoOfCaptures: every line of a real note comes back as it stands there.
func TestVMCoreInfoOfCaptures(t *testing.T) {
	for _, c := range committed {
		cap, _ := openCapture(t, filepath.Join(committedDir, c.dir, "tables.elf.zst"))
		v, err := ParseVMCoreInfo(cap.VMCoreInfo)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for line := range bytes.Lines(bytes.TrimRight(cap.VMCoreInfo, "\x00")) {
			key, value, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), "=")
			if got, ok := v.Get(key); !ok || got != value {
				t.Errorf("%s: %s is %q, got %q, %v", c.dir, key, value, got, ok)
			}
			n++
		}
		if n < 90 || v.Cut() != "" {
			t.Errorf("%s: %d lines, cut %q", c.dir, n, v.Cut())
		}
		a, okA := v.Symbol("swapper_pg_dir")
		b, okB := v.Symbol("init_top_pgt")
		if !okA || !okB || a != b {
			t.Errorf("%s: swapper_pg_dir %v, init_top_pgt %v", c.dir, a, b)
		}
	}
}

// FuzzVMCoreInfo: a parse fails or gives a result, and what it took in is in the text.
func FuzzVMCoreInfo(f *testing.F) {
	f.Add([]byte("OSRELEASE=6.1\nSYMBOL(_stext)=ffffffff81000000\nNUMBER(phys_base)=-1\nKERNELOFFSET=0\n\x00\x00"))
	f.Add([]byte("SIZE(zone)=1728\nOFFSET(pglist_data.nr_zones)=15136\nOFFSET(pglist_data.node_zones)=0\nLENGTH(node_data)=64\n"))
	f.Add([]byte("SYMBOL(x)=0x\nNUMBER()=--\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := ParseVMCoreInfo(b)
		if (v == nil) != (err != nil) {
			t.Fatalf("%v, %v", v, err)
		}
		if err != nil {
			if !errors.Is(err, ErrVMCoreInfo) || len(err.Error()) > 600 {
				t.Fatalf("error %v", err)
			}
			return
		}
		for key, value := range v.values {
			if !bytes.Contains(b, []byte(key+"="+value+"\n")) {
				t.Fatalf("%q=%q is not in the text", key, value)
			}
		}
		v.zones()
		v.KernelOffset()
		parseVersion(v.OSRelease())
	})
}
