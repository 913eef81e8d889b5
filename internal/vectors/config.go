package vectors

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"ptemu/arch/x86"
	"ptemu/linux"
	"ptemu/swapentry"
)

// l1tfCacheBits is boot_cpu_data.x86_cache_bits of the machines with the L1TF bug that made the vectors.
const l1tfCacheBits = 44

// Config is the kernel and the machine that made a file.
type Config struct {
	ABI    *x86.ABI
	Shstk  *x86.ABI // the same, on a processor with user shadow stacks
	Layout *swapentry.Layout
	Space  []linux.Marker // where the areas of the address space lie
	PTI    bool           // page-table isolation was active
}

// head collects the comments in front of the first vector.
type head struct {
	fields map[string]string
}

// add notes a comment of the form "# key value" or "# config KEY=value"; others pass.
func (h *head) add(comment string) {
	key, value, ok := strings.Cut(strings.TrimPrefix(comment, "# "), " ")
	if key == "config" {
		key, value, ok = strings.Cut(value, "=")
	}
	if ok {
		h.fields[key] = value
	}
}

func (h *head) number(key string) (uint64, error) {
	v, ok := h.fields[key]
	if !ok {
		return 0, fmt.Errorf("the file does not say %s", key)
	}
	return strconv.ParseUint(v, 0, 64)
}

// config builds the ABI that the comments describe.
func (h *head) config() (*Config, error) {
	n := map[string]uint64{}
	for _, key := range []string{
		"paging-levels-active", "boot-cpu-phys-bits", "bug-l1tf", "feature-pti", "sme-mask", "cc-mask", "supported-pte-mask",
		"CONFIG_DEVICE_PRIVATE", "CONFIG_RANDOMIZE_BASE",
	} {
		v, err := h.number(key)
		if err != nil {
			return nil, err
		}
		n[key] = v
	}
	switch {
	case n["cc-mask"] != n["sme-mask"]:
		return nil, fmt.Errorf("cc-mask %#x, sme-mask %#x: only AMD's kind of encryption is known", n["cc-mask"], n["sme-mask"])
	case n["CONFIG_RANDOMIZE_BASE"] != 0:
		return nil, errors.New("with CONFIG_RANDOMIZE_BASE addresses are no constants")
	}
	kernel, err := x86.KernelNamed(release(h.fields["kernel-version"]))
	if err != nil {
		return nil, err
	}
	kernel.DevicePrivate = n["CONFIG_DEVICE_PRIVATE"] != 0
	paging := x86.Paging{
		Levels:   int(n["paging-levels-active"]),
		PhysBits: uint8(n["boot-cpu-phys-bits"]),
		NX:       n["supported-pte-mask"]&x86.PageNX != 0,
		EncMask:  n["sme-mask"],
		L1TF:     n["bug-l1tf"] != 0,
	}
	if paging.L1TF {
		paging.CacheBits = l1tfCacheBits
	}
	c := &Config{PTI: n["feature-pti"] != 0}
	if c.ABI, err = x86.NewABI(kernel, paging); err != nil {
		return nil, err
	}
	paging.ShadowStack = true
	if c.Shstk, err = x86.NewABI(kernel, paging); err != nil {
		return nil, err
	}
	c.Layout = swapentry.NewLayout(c.ABI)
	c.Space, err = emptySpace(c.ABI)
	return c, err
}

// release returns the series of a version: "6.12.107" is of "6.12".
func release(version string) string {
	if i := strings.LastIndexByte(version, '.'); i > 0 {
		return version[:i]
	}
	return version
}
