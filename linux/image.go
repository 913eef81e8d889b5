package linux

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// Bounds of the search of the kernel image.
const (
	maxImageFrames  = 32 << 20 / x86.PageSize // of read-only data
	maxImageMissing = 64                      // unreadable ones before the first that can be read
	maxConfigPacked = 1 << 20
	maxConfigText   = 4 << 20
)

// buildConfig is the configuration that a kernel was built with.
type buildConfig map[string]string

// on reports whether option, without its prefix CONFIG_, is y or m.
func (c buildConfig) on(option string) bool {
	v := c["CONFIG_"+option]
	return v == "y" || v == "m"
}

// imageText is what the read-only data of a kernel image says in plain sight.
type imageText struct {
	config  buildConfig // nil if the kernel was built without CONFIG_IKCONFIG
	release string      // of the banner "Linux version ..."
	// deviceExclusive and migrateVMA say that the functions are exported which exist only with CONFIG_DEVICE_PRIVATE (the
	// latter before 5.14); exports, that all read-only data was there and holds the names of exported functions, so that
	// a name that is not there is not exported.
	deviceExclusive, migrateVMA, exports bool
}

// The configuration lies between the first two words, compressed. The last three are exported functions: one of
// 6.15 and later or, with _range behind it, of 5.14 and later; one that before needed CONFIG_DEVICE_PRIVATE; and one that
// every kernel has.
//
// Linux: kernel/configs.c; mm/rmap.c:make_device_exclusive(), make_device_exclusive_range(); 5.10: mm/migrate.c
var (
	configStart     = []byte("IKCFG_ST\x1f\x8b")
	configEnd       = []byte("IKCFG_ED")
	banner          = []byte("Linux version ")
	deviceExclusive = []byte("\x00make_device_exclusive")
	migrateVMA      = []byte("\x00migrate_vma_setup\x00")
	anyExport       = []byte("\x00vmalloc_to_pfn\x00")
)

// readImage searches the kernel image's read-only data, which is mapped read-only and not executable. A capture
// without the image (tables only) costs a few failed reads.
func readImage(mem physmem.Reader, abi *x86.ABI, root x86.PFN, l *Layout) imageText {
	var out imageText
	w := newWalker(mem, abi, layoutBudget)
	s := imageScan{mem: mem, out: &out}
	for va := l.TextFirst; va != 0 && va <= l.TextLast && !s.done(); {
		e, ok, err := w.first(root, va, l.TextLast, x86.LevelPTE)
		if !ok || err != nil {
			break
		}
		if e.raw&x86.PageRW == 0 && e.raw&x86.PageNX != 0 {
			s.leaf(e.va, w.phys(e), e.level.Size())
		}
		va = e.end() + 1
	}
	out.exports = out.exports && s.missing == 0 && s.frames < maxImageFrames
	return out
}

type imageScan struct {
	mem             physmem.Reader
	out             *imageText
	frames, missing int
	next            x86.Virt // the address behind tail
	tail            []byte   // end of the frame before, or all of the configuration that was read so far
	inConfig        bool
	buf             physmem.Frame
}

func (s *imageScan) done() bool {
	return s.frames >= maxImageFrames || s.frames == 0 && s.missing >= maxImageMissing
}

func (s *imageScan) leaf(va x86.Virt, pa x86.Phys, size uint64) {
	for off := uint64(0); off < size && !s.done(); off += x86.PageSize {
		if s.mem.ReadFrame((pa+x86.Phys(off)).PFN(), &s.buf) != nil {
			s.missing++
			continue
		}
		s.frames++
		if at := va + x86.Virt(off); at != s.next {
			s.tail, s.inConfig = nil, false
		}
		s.next = va + x86.Virt(off) + x86.PageSize
		s.tail = append(s.tail, s.buf[:]...)
		s.search()
	}
}

// search looks through tail, and cuts it down to what may be the start of something.
func (s *imageScan) search() {
	const keep = 128 // more than a banner's release and a start word
	if s.out.release == "" {
		s.out.release = bannerRelease(s.tail)
	}
	s.out.deviceExclusive = s.out.deviceExclusive || bytes.Contains(s.tail, deviceExclusive)
	s.out.migrateVMA = s.out.migrateVMA || bytes.Contains(s.tail, migrateVMA)
	s.out.exports = s.out.exports || bytes.Contains(s.tail, anyExport)
	if !s.inConfig {
		if i := bytes.Index(s.tail, configStart); i >= 0 && s.out.config == nil {
			s.tail, s.inConfig = s.tail[i:], true
		}
	}
	if s.inConfig {
		end := bytes.Index(s.tail, configEnd)
		if end < 0 && len(s.tail) < maxConfigPacked {
			return
		}
		s.inConfig = false
		if end >= 0 {
			s.out.config = parseConfig(s.tail[len("IKCFG_ST"):end])
		}
	}
	if len(s.tail) > keep {
		s.tail = s.tail[:copy(s.tail, s.tail[len(s.tail)-keep:])]
	}
}

// bannerRelease returns the release in the first banner in b that is whole.
func bannerRelease(b []byte) string {
	for {
		i := bytes.Index(b, banner)
		if i < 0 {
			return ""
		}
		b = b[i+len(banner):]
		word, _, whole := bytes.Cut(b[:min(len(b), 65)], []byte(" "))
		if _, ok := parseVersion(string(word)); whole && ok {
			return string(word)
		}
	}
}

// parseConfig unpacks a configuration; nil if it is damaged.
func parseConfig(packed []byte) buildConfig {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil
	}
	z.Multistream(false)
	text, err := io.ReadAll(io.LimitReader(z, maxConfigText))
	if err != nil {
		return nil
	}
	c := buildConfig{}
	for line := range strings.Lines(string(text)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && strings.HasPrefix(key, "CONFIG_") {
			c[key] = value
		}
	}
	return c
}
