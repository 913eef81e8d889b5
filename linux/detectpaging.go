package linux

import (
	"fmt"

	"ptemu/arch/x86"
)

// machine decides about the processor's paging.
func (d *detector) machine() error {
	d.paging = x86.DefaultPaging(d.levels())
	d.encryption()
	kept := d.opts.Known
	switch {
	case d.opts.PhysBits != 0:
		d.paging.PhysBits = d.opts.PhysBits
		d.fact("physical address bits", fmt.Sprint(d.opts.PhysBits), "as asked")
	case kept != nil && kept.Paging.PhysBits != d.paging.PhysBits:
		d.paging.PhysBits = kept.Paging.PhysBits
		d.fact("physical address bits", fmt.Sprint(d.paging.PhysBits), keptWhy)
	default:
		d.assume("physical address bits", fmt.Sprint(d.paging.PhysBits), "no capture says; no reserved-bit fault for a frame is reported")
	}
	d.nx()
	switch n := d.opts.L1TFCacheBits; {
	case n != 0:
		d.paging.L1TF, d.paging.CacheBits = true, n
		d.fact("L1TF", fmt.Sprintf("affected, %d cache bits", n), "as asked")
	case kept != nil && kept.Paging.L1TF:
		d.paging.L1TF, d.paging.CacheBits = true, kept.Paging.CacheBits
		d.fact("L1TF", fmt.Sprintf("affected, %d cache bits", d.paging.CacheBits), keptWhy)
	default:
		d.assume("L1TF", "not affected", "no capture says; affected processors limit swap offsets and may not keep A and D in migration entries")
	}
	var err error
	d.walk, err = x86.NewABI(x86.Linux7_2(), d.paging)
	return err
}

// encryption decides about the encryption bit.
func (d *detector) encryption() {
	const what = "encryption mask"
	mask, ok := d.VMCoreInfo.Number("sme_mask")
	p := d.paging
	p.EncMask = uint64(mask)
	switch {
	case d.opts.EncMask != nil:
		d.paging.EncMask = *d.opts.EncMask
		d.fact(what, fmt.Sprintf("%#x", d.paging.EncMask), "as asked")
	case !ok && d.opts.Known != nil && d.opts.Known.Paging.EncMask != 0:
		d.paging.EncMask = d.opts.Known.Paging.EncMask
		d.fact(what, fmt.Sprintf("%#x", d.paging.EncMask), keptWhy)
	case !ok:
		d.assume(what, "0", "VMCOREINFO does not say")
	case p.Validate() != nil:
		d.warn("VMCOREINFO NUMBER(sme_mask) is left out: %v", p.Validate())
	case mask != 0:
		d.paging = p
		d.fact(what, fmt.Sprintf("%#x", mask), "VMCOREINFO NUMBER(sme_mask)")
	}
}

// nx decides about EFER.NXE as far as registers tell; the layout may tell more.
func (d *detector) nx() {
	for i, c := range d.cpus {
		if c.HasEFER && c.paging() == nil {
			d.paging.NX = c.EFER&eferNXE != 0
			d.fact("NX", fmt.Sprint(d.paging.NX), fmt.Sprintf("EFER of CPU %d", i))
			return
		}
	}
}

// knowsNX reports whether a CPU's EFER has decided about NX.
func (d *detector) knowsNX() bool {
	for _, c := range d.cpus {
		if c.HasEFER && c.paging() == nil {
			return true
		}
	}
	return false
}

// levels decides how many levels the tables have: as asked, as a processor's CR4 says, as VMCOREINFO says, as roots
// found in RAM show, or as the chosen root makes sense.
func (d *detector) levels() int {
	const what = "levels"
	n, why := 0, ""
	for i, c := range d.cpus {
		if c.paging() == nil {
			n, why = c.levels(), fmt.Sprintf("CR4 %#x of CPU %d", c.CR4, i)
			break
		}
	}
	if l5, ok := d.VMCoreInfo.Number("pgtable_l5_enabled"); ok {
		said := 4
		if l5 != 0 {
			said = 5
		}
		if n == 0 {
			n, why = said, "VMCOREINFO NUMBER(pgtable_l5_enabled)"
		} else if n != said {
			d.warn("%s means %d levels, VMCOREINFO says %d", why, n, said)
		}
	}
	if asked := d.opts.Levels; asked != 0 {
		if n != 0 && n != asked {
			d.warn("%d levels were asked for, but %s means %d", asked, why, n)
		}
		n, why = asked, "as asked"
	}
	if kept := d.opts.Known; n == 0 && kept != nil {
		n, why = kept.Paging.Levels, keptWhy
	}
	if n == 0 && d.found != nil && len(d.found.Roots) > 0 {
		r := d.found.Roots[0]
		if init, ok := d.found.InitMM(); ok {
			r = init
		}
		n, why = r.Levels, fmt.Sprintf("the root table at %v: %s", r.Phys, r.Why)
	}
	if n == 0 && d.opts.CR3 != nil {
		for _, try := range []int{4, 5} {
			abi := x86.MustABI(x86.Linux7_2(), x86.DefaultPaging(try))
			if selfConsistent(newWalker(d.mem, abi, layoutBudget), abi.TableFrame(*d.opts.CR3)) == nil {
				n, why = try, "with this number the chosen root maps the kernel image and RAM as Linux does"
				break
			}
		}
	}
	if n == 0 {
		d.assume(what, "4", "nothing in the capture tells; give --levels if it has five")
		return 4
	}
	d.fact(what, fmt.Sprint(n), why)
	return n
}

// findRoots finds the roots of the processors, of init_mm, and the chosen one.
func (d *detector) findRoots() error {
	for i, c := range d.cpus {
		r := CPURoots{CPU: i, CR3: c.CR3, Err: c.paging()}
		if r.Err == nil && c.levels() != d.paging.Levels && d.opts.Levels == 0 {
			r.Err = fmt.Errorf("it uses %d levels, CPU 0 %d", c.levels(), d.paging.Levels)
		}
		if r.Paging = r.Err == nil; r.Paging {
			r.Roots, r.Err = FindRoots(d.mem, d.walk, c.CR3)
		}
		if r.Err != nil {
			r.Err = fmt.Errorf("CPU %d: %w", i, r.Err)
			d.warn("no root: %v", r.Err)
		} else if r.UserMissing {
			d.warn("CPU %d runs on the user root at %v, which is not in the capture: the kernel root of the pair stands for it; "+
				"its user half is the same, but forbids execution", i, d.walk.TableFrame(c.CR3).Phys())
		}
		d.CPUs = append(d.CPUs, r)
	}
	if d.opts.CR3 != nil {
		r, err := FindRoots(d.mem, d.walk, *d.opts.CR3)
		if err != nil {
			return fmt.Errorf("CR3 %#x: %w", *d.opts.CR3, err)
		}
		d.Chosen = &r
	}
	d.physBase()
	d.kaslrOffset()
	d.initMM()
	return nil
}

// physBase takes phys_base from VMCOREINFO; the layout may find it otherwise.
func (d *detector) physBase() {
	if n, ok := d.VMCoreInfo.Number("phys_base"); ok {
		d.PhysBase, d.HasPhysBase = x86.Phys(n), true
		d.fact("phys_base", fmt.Sprint(n), "VMCOREINFO NUMBER(phys_base)")
	}
}

// kaslrOffset takes the offset from VMCOREINFO; the layout may suggest one otherwise.
func (d *detector) kaslrOffset() {
	if off, ok := d.VMCoreInfo.KernelOffset(); ok {
		d.KASLROffset, d.HasKASLROffset = off, true
		d.fact("KASLR offset", fmt.Sprintf("%#x", off), "VMCOREINFO KERNELOFFSET")
	} else if kept := d.opts.Known; kept != nil && kept.KASLROffset != nil {
		d.KASLROffset, d.HasKASLROffset = *kept.KASLROffset, true
		d.fact("KASLR offset", fmt.Sprintf("%#x", d.KASLROffset), keptWhy)
	}
}

// initMM finds the root of init_mm: where VMCOREINFO says, or where the search of RAM found it.
func (d *detector) initMM() {
	if pa, why, ok := d.initMMPhys(); ok {
		r, err := FindRoots(d.mem, d.walk, uint64(pa))
		if err != nil {
			d.warn("init_mm's root at %v (%s) cannot be used: %v", pa, why, err)
			return
		}
		if err := selfConsistent(newWalker(d.mem, d.walk, layoutBudget), r.Kernel.PFN()); err != nil {
			d.warn("init_mm's root at %v (%s) looks wrong: %v", pa, why, err)
			if d.anyCPU() || d.Chosen != nil {
				return
			}
		}
		d.InitMM = &r
		d.fact("init_mm root", pa.String(), why)
		return
	}
	if d.found == nil || len(d.found.Roots) == 0 {
		return
	}
	r, ok := d.found.InitMM()
	if !ok {
		r = d.found.Roots[0]
		d.assume("root", r.Phys.String(), "init_mm's was not found; this is the first in RAM that could be a process's: "+r.Why)
	} else {
		d.fact("init_mm root", r.Phys.String(), "found by searching RAM: "+r.Why)
	}
	if roots, err := FindRoots(d.mem, d.walk, uint64(r.Phys)); err == nil {
		d.InitMM = &roots
	}
}

func (d *detector) initMMPhys() (x86.Phys, string, bool) {
	for _, name := range []string{"init_top_pgt", "swapper_pg_dir"} {
		va, ok := d.VMCoreInfo.Symbol(name)
		if !ok || !d.HasPhysBase {
			continue
		}
		return x86.Phys(va-startKernelMap) + d.PhysBase, fmt.Sprintf("VMCOREINFO SYMBOL(%s) and phys_base", name), true
	}
	if kept := d.opts.Known; kept != nil && kept.InitMM != nil {
		return *kept.InitMM, keptWhy, true
	}
	return 0, "", false
}

// layoutRoot returns the root to derive the layout from: init_mm's if there is one.
func (d *detector) layoutRoot() (x86.PFN, error) {
	if d.InitMM != nil {
		return d.InitMM.Kernel.PFN(), nil
	}
	r, err := d.Root(-1)
	return r.Kernel.PFN(), err
}

// findLayout derives the layout, and what follows from it.
func (d *detector) findLayout() {
	root, err := d.layoutRoot()
	if err != nil {
		d.warn("%v", err)
		l := &Layout{geo: geometryOf(d.paging), ImageSize: largeImage,
			FixmapStart: Base{Addr: fixmapStart(minFixmapSlots), Why: "the least that every configuration has; no tables"}}
		l.DirectMap = Base{Addr: l.geo.direct, Why: "where it lies without KASLR; no tables"}
		l.VMalloc = Base{Addr: l.geo.vmalloc, Why: l.DirectMap.Why}
		l.VMemmap = Base{Addr: l.geo.vmemmap, Why: l.DirectMap.Why}
		d.Layout = l
		return
	}
	var warnings []string
	d.Layout, warnings = FindLayout(d.mem, d.walk, root, d.VMCoreInfo)
	d.Warnings = append(d.Warnings, warnings...)
	l := d.Layout
	for _, a := range []struct {
		what string
		base Base
	}{{"direct map", l.DirectMap}, {"vmalloc", l.VMalloc}, {"vmemmap", l.VMemmap}} {
		if a.base.Found {
			d.fact(a.what, a.base.Addr.String(), a.base.Why)
		} else {
			d.assume(a.what, a.base.Addr.String(), a.base.Why)
		}
	}
	if l.Missed {
		d.warn("the layout may be incomplete: some tables of the kernel half are not in the capture")
	}
	switch {
	case d.knowsNX():
	case l.NXSeen:
		d.fact("NX", "true", "bit 63 is set in mappings of the kernel")
	default:
		d.assume("NX", "true", "no register and no mapping tells")
	}
	d.imageFacts()
	if d.InitMM != nil || l.TextFirst == 0 {
		return
	}
	if r, err := FindInitMM(d.mem, d.walk, root, l); err == nil {
		d.InitMM = &r
		d.fact("init_mm root", r.Kernel.String(), "the only table in the kernel image that maps this image and RAM")
	}
}

// imageFacts says where the kernel image is.
func (d *detector) imageFacts() {
	l := d.Layout
	if l.TextFirst != 0 {
		switch {
		case !d.HasPhysBase:
			d.PhysBase, d.HasPhysBase = l.PhysBase, true
			d.fact("phys_base", fmt.Sprint(int64(l.PhysBase)), "where the tables map the kernel image to")
		case d.PhysBase != l.PhysBase:
			d.warn("VMCOREINFO says phys_base %d, the tables say %d", int64(d.PhysBase), int64(l.PhysBase))
		}
	}
	if !d.HasKASLROffset && l.TextFirst >= linkAddress {
		d.KASLROffset, d.HasKASLROffset = uint64(l.TextFirst-linkAddress), true
		d.assume("KASLR offset", fmt.Sprintf("%#x", d.KASLROffset),
			fmt.Sprintf("the image starts at %v, and kernels are usually linked for %v", l.TextFirst, linkAddress))
	}
	if _, ok := d.VMCoreInfo.Number("KERNEL_IMAGE_SIZE"); !ok {
		d.assume("size of the image's area", "1 GiB", "VMCOREINFO does not say; 512 MiB without CONFIG_RANDOMIZE_BASE")
	}
}

// shadowStack completes the paging with what depends on the kernel.
func (d *detector) shadowStack(k x86.Kernel) x86.Paging {
	p := d.paging
	for _, c := range d.cpus {
		if k.SavedDirty && c.paging() == nil && c.CR4&cr4CET != 0 {
			p.ShadowStack = true
			d.assume("user shadow stacks", "on", fmt.Sprintf("CR4 %#x has CET set; it may be for indirect-branch tracking only", c.CR4))
			break
		}
	}
	return p
}
