package audit

var areaRules = map[ruleID]rule{
	ruleOutsideAreas: {
		Name: "outside-areas", Severity: sevError, Needs: needAreas,
		Title: "an entry at an address that no area covers",
		Why: "Nothing will ever unmap it: the page is lost when the process ends (\"BUG: non-zero pgtables_bytes\", \"Bad rss-counter state\"), and until then the process " +
			"has memory that the kernel does not know of.",
		How:    "An entry in leaf position of a user half, empty ones left out, must lie in a VMA. Empty tables do not count.",
		Alarms: "A live capture may catch munmap() between the areas and the tables.",
	},
	ruleWritableWithoutVMWrite: {
		Name: "writable-without-vm-write", Severity: sevError, Needs: needAreas,
		Title: "a writable entry in an area without write permission",
		Why:   "The program writes what it may only read: a shared library, a page of the page cache, the zero page.",
		How:   "RW in a present leaf of an area without VM_WRITE. In an area of a driver (VM_PFNMAP, VM_IO) it is a warning: the driver chose the protection.",
	},
	ruleExecutableWithoutVMExec: {
		Name: "executable-without-vm-exec", Severity: sevError, Needs: needAreas,
		Title: "an executable entry in an area without execute permission",
		Why:   "Data can be run as code.",
		How:   "No NX in any level of a present leaf of an area without VM_EXEC, on a processor that has NX.",
	},
	ruleAccessibleNoneArea: {
		Name: "accessible-none-area", Severity: sevError, Needs: needAreas,
		Title: "a present entry in an area without any permission",
		Why:   "Guard pages and reserved address space rely on the fault.",
		How:   "P in a leaf of an area with none of VM_READ, VM_WRITE, VM_EXEC. It stands for the two rules before it there.",
	},
	ruleSharedPrivatePage: {
		Name: "shared-private-page", Severity: sevError, Needs: needAreas,
		Title: "a private page is writable, and mapped elsewhere too",
		Why:   "What a process writes to private memory shows in another: copy-on-write has failed. The faults of this kind (Dirty COW, the vmsplice hole) gave root.",
		How: "A frame that is writable through an entry in a private area (VM_WRITE, VM_SHARED clear) is a page of that process alone. No other entry of any user half may map it. Pages of " +
			"KSM and of files are never writable in a private area; drivers' memory (SPECIAL, VM_PFNMAP, VM_MIXEDMAP, VM_IO) is left out.",
	},
	ruleSoftDirtyCleanWritable: {
		Name: "soft-dirty-clean-writable", Severity: sevWarning, Needs: needAreas | needTracks,
		Title: "a page whose writes are not tracked, in an area that is tracked",
		Why: "Checkpointing (CRIU) clears soft-dirty and then trusts that every write sets it again, through a fault. A clean page that is writable is written " +
			"without one, and the next dump misses it.",
		How: "A writable present leaf without SOFT_DIRTY in an area without VM_SOFTDIRTY. hugetlb and VM_PFNMAP areas are not tracked. An area with VM_SOFTDIRTY " +
			"counts as dirty as a whole.",
		Alarms: "On kernels without CONFIG_MEM_SOFT_DIRTY no area has the flag: the rule is then not run.",
	},
	ruleSpecialPageWritable: {
		Name: "special-page-writable", Severity: sevError, Needs: needAreas,
		Title: "a shared page of the kernel's own is writable",
		Why:   "In ordinary areas SPECIAL marks the zero page, which all processes share. Who writes it changes what every fresh page reads as.",
		How:   "RW and SPECIAL in a present leaf of an area that is neither VM_PFNMAP nor VM_MIXEDMAP nor VM_IO.",
	},
	rulePkeyMismatch: {
		Name: "pkey-mismatch", Severity: sevError, Needs: needAreas,
		Title: "an entry has another protection key than its area",
		Why:   "The key decides which threads may use the page. With the wrong one, a sandbox built on keys is open, or its own code is shut out.",
		How:   "The key bits of a present or PROT_NONE leaf against those of the area's vm_page_prot.",
	},
	ruleStaleUffdWP: {
		Name: "stale-uffd-wp", Severity: sevWarning, Needs: needAreas,
		Title:  "userfaultfd write protection in an area that is not registered for it",
		Why:    "Nobody waits for the fault. The page stays read-only until a write faults it right, and the protection shows up where the area is registered again.",
		How:    "The uffd-wp bit of a page, a swap or migration entry or a marker, in an area without VM_UFFD_WP.",
		Alarms: "Kernels from before 2025 leave it behind when mremap() moves pages to an area that is not registered.",
	},
}
