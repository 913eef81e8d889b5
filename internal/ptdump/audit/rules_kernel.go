package audit

var kernelRules = map[ruleID]rule{
	ruleKernelWX: {
		Name: "kernel-wx", Severity: sevError, Needs: needKernel,
		Title: "kernel memory that is writable and executable",
		Why: "Whoever can write one word of it runs code in the kernel. Linux promises that there is none, and looks for it " +
			"itself when it has booted (CONFIG_DEBUG_WX).",
		How: "W and X over all levels of the walk, in the kernel half. What lies in the kernel image's text is kernel-text-writable instead.",
		Alarms: "Old kernels, and modules that patch kernel memory, leave some behind. A live capture may catch " +
			"a module while it is being loaded.",
	},
	ruleKernelTextWritable: {
		Name: "kernel-text-writable", Severity: sevError, Needs: needKernel,
		Title: "the kernel's text is writable",
		Why: "The code of the kernel does not change after boot, except through temporary mappings that no other processor sees " +
			"(text_poke). A writable page in it is patched code, or an open door.",
		How: "A writable entry of the kernel image that is executable itself, or that stands between executable ones without a gap, from the first executable " +
			"page of the image on.",
		Alarms: "A kernel booted with rodata=off, and one captured before mark_rodata_ro() ran.",
	},
	ruleKernelUserWritable: {
		Name: "kernel-user-writable", Severity: sevError, Needs: needKernel,
		Title: "kernel memory that programs can write",
		Why:   "Any program can write it: nothing of the kernel is protected any more.",
		How:   "USER and RW in every level of the walk to a present entry of the kernel half.",
	},
	ruleKernelUserAccessible: {
		Name: "kernel-user-accessible", Severity: sevWarning, Needs: needKernel,
		Title: "kernel memory that programs can read",
		Why:   "Programs learn what the kernel keeps there, and where it is.",
		How:   "USER, but not RW, in every level of the walk to a present entry of the kernel half. The vsyscall page is left out: programs call it.",
	},
	ruleDirectMapExecutable: {
		Name: "direct-map-executable", Severity: sevWarning, Needs: needKernel,
		Title: "an executable page in the direct map",
		Why: "All RAM is in the direct map, that of programs too. An executable page there is a place to jump to with " +
			"content that a program may have chosen.",
		How: "A present entry without NX in any level, in the region of the direct map, that is not writable (that is kernel-wx). Below 1 MiB " +
			"it is explained: the code that starts processors lies there (set_real_mode_permissions()).",
		Alarms: "Kernels with CONFIG_KEXEC_JUMP or hibernation make a page executable for the time of the jump.",
	},
	ruleKernelDataExecutable: {
		Name: "kernel-data-executable", Severity: sevWarning, Needs: needKernel,
		Title: "an executable page where the kernel has data",
		Why:   "Code of the kernel lies in its text and among the modules. What is executable elsewhere has escaped the rules made for these.",
		How: "A present entry without NX in any level, in a region of the kernel half that is neither the direct map nor modules, nor the text of the kernel " +
			"image, and that is not writable (that is kernel-wx). The vsyscall page is left out.",
		Alarms: "Hypervisor call pages (Hyper-V, Xen) and old kernels' BPF programs lie in the vmalloc area.",
	},
	ruleExecutableAliasWritable: {
		Name: "executable-alias-writable", Severity: sevWarning, Needs: needKernel | needRAM,
		Title: "a frame that the kernel executes can be written at another address",
		Why: "That a page is not writable where it is executed means nothing if it is writable elsewhere. set_memory_ro() therefore changes " +
			"the direct map too.",
		How: "Every frame of an executable entry of the kernel half (the direct map left out) must not be writable through the direct map, nor through any " +
			"other entry of the kernel half.",
		Alarms: "A live capture may catch a module, a trampoline or a BPF program while it is being written.",
	},
	ruleDirectMapNotLinear: {
		Name: "direct-map-not-linear", Severity: sevError, Needs: needKernel | needRAM,
		Title: "an entry of the direct map names a frame that does not belong there",
		Why: "The kernel finds physical memory by adding a constant. Where the sum is wrong, it reads and writes other memory than it " +
			"means to: a flipped bit, or a page that somebody hides.",
		How: "In the region of the direct map, the frame of every present entry must be its address less the base of the region.",
	},
	ruleKernelFrameOutsideRAM: {
		Name: "kernel-frame-outside-ram", Severity: sevWarning, Needs: needKernel | needRAM,
		Title: "kernel text, modules, struct pages, stacks or entry code outside RAM",
		Why:   "These can lie in RAM only. An entry that names anything else is damaged, or reads a device.",
		How: "The frame of a present entry in the regions kernel text, modules, vmemmap, CPU entry area, espfix and LDT remap must be one that the " +
			"direct map maps. vmalloc, fixmap and EFI are left out: devices are mapped there.",
		Alarms: "struct pages of persistent memory may lie on that memory (altmap); it is in the direct map all the same.",
	},
	ruleKernelHoleMapped: {
		Name: "kernel-hole-mapped", Severity: sevWarning, Needs: needKernel,
		Title: "something is mapped where the kernel has nothing",
		Why:   "The kernel's map of its half of the address space leaves gaps. A mapping in one was not made by it.",
		How: "A present entry in a gap between the regions, as ptdump info lists them. It is not looked for if the place of an area that KASLR moves was not " +
			"found in the capture.",
		Alarms: "Areas of configurations that ptdump does not know (KMSAN's). Xen and other hypervisors use the guard hole, which is left out.",
	},
	ruleKernelHalfDiffers: {
		Name: "kernel-half-differs", Severity: sevError, Needs: needKernel,
		Title: "a process has a kernel half of its own",
		Why: "All processes share the kernel half of init_mm. One that has other entries there runs the kernel on memory that nobody else sees: the way " +
			"to hide code, or a stray write into a root table.",
		How: "Every entry of the upper half of a process's root table must be equal to that of init_mm's, A and D aside, or empty: what the kernel adds later " +
			"is copied when it is needed. The entry of the LDTs is each process's own. What differs is audited like the kernel's own half.",
	},
	rulePTIUserMapsKernel: {
		Name: "pti-user-maps-kernel", Severity: sevError, Needs: needPTI,
		Title: "a user root maps kernel memory that it should not",
		Why: "Page-table isolation (PTI) exists so that a processor with Meltdown cannot reach kernel memory while it runs a program. What " +
			"the user root maps can be read.",
		How: "In the kernel half of a user root only the CPU entry area, espfix, the LDTs, the vsyscall page and up to 4 MiB of code (the " +
			"entry code, in large pages) are expected. Single pages of the direct map or vmalloc that the CPU entry area maps too are each CPU's TSS, " +
			"which the entry code needs. The kernel image, not writable, is explained if no CPU has PCIDs: Linux then maps it globally " +
			"(pti_clone_kernel_text()).",
		Alarms: "Kernels booted on processors with PCIDs but without CR4.PCIDE in the capture's notes.",
	},
	rulePTINXMissing: {
		Name: "pti-nx-missing", Severity: sevError, Needs: needPTI,
		Title: "a user entry of a kernel root is executable",
		Why: "With PTI the kernel's root has NX on everything of the user half, so that a kernel that jumps into user memory faults, and so that a " +
			"return to a program with the wrong root is noticed.",
		How:    "With PTI, every present entry of the lower half of a process's kernel root must have NX.",
		Alarms: "Identity maps for kexec, which no process runs on.",
	},
	rulePTIRootsDiffer: {
		Name: "pti-roots-differ", Severity: sevError, Needs: needPTI,
		Title: "the two roots of a process have different user halves",
		Why:   "The kernel and the program see different memory at one address: the kernel checks one page, the program uses another.",
		How:   "With PTI, the entries of the lower half of both roots must be equal but for NX, A and D.",
	},
	ruleCPUProtectionOff: {
		Name: "cpu-protection-off", Severity: sevError, Needs: needCPUs,
		Title: "a processor does not enforce what the tables say",
		Why: "With CR0.WP clear the kernel can write read-only pages, with EFER.NXE clear nothing is protected from execution. SMEP and SMAP keep the " +
			"kernel from running and reading user memory. Attacks clear them.",
		How: "CR0.WP must be set on every processor, and EFER.NXE where the capture tells. SMEP and SMAP must be set on all or none (a warning): processors " +
			"of one machine have the same.",
		Alarms: "A processor that was starting up, or was in firmware, when the capture was made.",
	},
}
