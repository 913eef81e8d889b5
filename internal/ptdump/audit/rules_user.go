package audit

var userRules = map[ruleID]rule{
	ruleUserWX: {
		Name: "user-wx", Severity: sevNote,
		Title: "user memory that is writable and executable",
		Why:   "In a program that can be made to write where it should not, such memory turns data into code.",
		How: "W and X over all levels of the walk, for user mode. It is explained if the area has VM_WRITE and VM_EXEC: the program asked for it. If the " +
			"area has only one of the two, the rules about areas report it instead.",
		Alarms: "Just-in-time compilers, trampolines of nested functions, and programs with executable stacks.",
	},
	ruleUserSupervisor: {
		Name: "user-supervisor", Severity: sevWarning,
		Title: "a page of the user half that only the kernel can use",
		Why: "Programs cannot use it, so that Linux has no reason to map it there. The kernel is kept from memory of programs by SMAP and " +
			"SMEP: here they do not apply.",
		How:    "A present leaf of a user half without USER in every level of the walk.",
		Alarms: "The address space in which the kernel patches its own code (poking_mm); it belongs to no process.",
	},
	ruleUserGlobal: {
		Name: "user-global", Severity: sevWarning,
		Title: "a user page that stays in the TLB when the process changes",
		Why:   "GLOBAL entries survive the change to another address space, so that the next process reaches the page.",
		How:   "GLOBAL in a present leaf of a user half.",
	},
	ruleFrameOutsideRAM: {
		Name: "frame-outside-ram", Severity: sevError, Needs: needRAM,
		Title: "an entry names a frame that is not RAM",
		Why: "The kernel looks for the struct page of a frame that has none. It reports \"bad page map\" when it meets such an entry. A damaged entry gives " +
			"a program the memory of a device.",
		How: "The frame of a user entry (present, PROT_NONE, migrating, failed, device-exclusive) must be one that the direct map maps. Entries with SPECIAL, or " +
			"for device memory (DEVMAP), have no struct page and may name any frame. Before 6.12 large pages have no SPECIAL: they count only in an area " +
			"that is neither VM_PFNMAP nor VM_MIXEDMAP nor VM_IO.",
	},
	ruleProtnoneNotInverted: {
		Name: "protnone-not-inverted", Severity: sevError, Needs: needRAM,
		Title: "a PROT_NONE entry holds its frame as it is",
		Why: "Processors with the L1 terminal fault (Foreshadow) read the L1 cache at the frame of an entry that is not present. Linux therefore stores " +
			"the frame of such entries inverted.",
		How: "The frame of a PROT_NONE entry, read inverted as Linux does, is not RAM, but its bits as they stand are. Entries with SPECIAL are left out.",
	},
	ruleShadowStackEntry: {
		Name: "shadow-stack-entry", Severity: sevError,
		Title: "an entry looks like a page of a shadow stack, where there is none",
		Why: "Since 6.6 RW=0 with D=1 means a shadow stack: with CET the processor writes return addresses there. Everywhere else Linux keeps the dirty state " +
			"of a read-only page in a bit of its own (SAVED_DIRTY). An entry that confuses the two is writable though it seems not to be.",
		How: "A present leaf with D but not RW, of a kernel with SAVED_DIRTY. In an area with VM_SHADOW_STACK it is as it should be. Where no areas are known and a " +
			"processor has CR4.CET set, user entries are not judged.",
	},
	ruleSavedDirtyWritable: {
		Name: "saved-dirty-writable", Severity: sevWarning,
		Title: "a writable entry with SAVED_DIRTY",
		Why:   "SAVED_DIRTY stands for D while an entry is read-only. Beside RW it is left over from a change that was not completed.",
		How: "A present leaf of a user half with RW and SAVED_DIRTY, of a kernel that has it. hugetlb is left out: its faults leave both (huge_pte_mkwrite() does not " +
			"look at the dirty state). Large pages therefore count only in an area that is not hugetlb.",
	},
	ruleUffdWPWritable: {
		Name: "uffd-wp-writable", Severity: sevError,
		Title: "an entry that is write-protected by userfaultfd can be written",
		Why: "The monitor (a snapshot, a garbage collector, a migration) is not told of the write: the copy that it keeps is wrong. Linux had this fault in " +
			"several places where entries are made anew: migration, mprotect, NUMA hints.",
		How: "UFFD_WP in a present leaf that is writable: RW, or a page of a shadow stack.",
	},
	ruleIllegalSwapEntry: {
		Name: "illegal-swap-entry", Severity: sevError,
		Title: "an entry without P that no kernel writes",
		Why: "The kernel reads it as a swap entry, and reports \"Bad swap file entry\" or takes a place for a page that it is not. It is the mark of damaged " +
			"memory, or of a kernel that is read with the wrong settings.",
		How: "A user entry that is neither empty nor a page must be one that this release writes: a type that exists, at a level that it can stand at, no stray bits, slot 0 of no " +
			"device, a marker with bits that have a meaning. Its frame or slot, which is stored inverted, must exist on this machine, also that of a page with " +
			"PROT_NONE: one bit that flips in an empty entry gives the last one there could be.",
		Alarms: "The wrong --kernel or --device-private: they move the types. ptdump warns if the types that are used speak against them.",
	},
	ruleExclusiveSwapShared: {
		Name: "exclusive-swap-shared", Severity: sevError,
		Title: "a swap entry says that it is the only one, and is not",
		Why:   "When the page comes back, the process that believes to be alone maps it writable and does not copy it: the other sees what is written.",
		How:   "An entry with the exclusive flag, and another entry for the same slot of the same device.",
	},
	ruleMigrationEntry: {
		Name: "migration-entry", Severity: sevNote,
		Title:  "a page in the middle of a migration",
		Why:    "A migration lasts microseconds, and whoever touches the page waits for its end. In a machine that hangs, this is what processes wait for.",
		How:    "Any migration entry in a user half.",
		Alarms: "A capture that was made while pages were being moved: compaction, NUMA balancing, the splitting of a huge page.",
	},
	ruleHWPoisonEntry: {
		Name: "hwpoison-entry", Severity: sevNote,
		Title:  "memory that has failed, or that counts as failed",
		Why:    "The process is killed (SIGBUS) when it touches the page.",
		How:    "Entries for failed frames, markers of pages that could not be read back from swap or were poisoned through userfaultfd, and the swap-in errors of 6.1.",
		Alarms: "Memory that was poisoned on purpose: MADV_HWPOISON, UFFDIO_POISON.",
	},
	ruleHWPoisonMapped: {
		Name: "hwpoison-mapped", Severity: sevError,
		Title:  "a frame that has failed is still mapped",
		Why:    "One process was told that the memory is gone, another goes on using it, and meets the error.",
		How:    "A frame that an entry calls failed, and that another entry of a user half maps.",
		Alarms: "A live capture may catch the kernel while it unmaps the frame.",
	},
}
