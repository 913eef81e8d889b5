package audit

var tableRules = map[ruleID]rule{
	ruleTableLinkedTwice: {
		Name: "table-linked-twice", Severity: sevError,
		Title: "two entries lead to one page table",
		Why: "A change through one address shows at the other, and when one of the two is freed, the other points into memory that is used for something " +
			"else. It is how a use after free of page tables looks.",
		How: "Each table of a user half, and each of the kernel half, must be linked once. The shadow of KASAN and the espfix area, which repeat tables on purpose, " +
			"are left out.",
	},
	ruleTableShared: {
		Name: "table-shared", Severity: sevError, Needs: needMany,
		Title: "two processes use one page table",
		Why:   "What one process maps, the other sees. When one of them ends, its tables are freed under the other.",
		How: "A table of the user half that is linked in two address spaces. It is explained if it is a PMD table of hugetlb: these are shared " +
			"between processes that map the same gigabyte of a file (huge_pmd_share()). With areas, both must be shared hugetlb areas; without them, " +
			"all entries of the table must be huge pages.",
	},
	ruleTableLoop: {
		Name: "table-loop", Severity: sevError,
		Title: "a table is its own ancestor",
		Why:   "Page tables that map themselves can be changed through the addresses that they translate. Linux has no such mapping; some other systems do.",
		How:   "An entry that leads back to a table on the path from the root.",
	},
	ruleTableOutsideRAM: {
		Name: "table-outside-ram", Severity: sevError, Needs: needRAM,
		Title: "an entry leads to a table outside RAM",
		Why:   "The processor reads entries from a device or from nothing: the entry that leads there is damaged.",
		How:   "A table that the capture does not have, in a frame that the direct map does not map.",
	},
	rulePageTableMapped: {
		Name: "page-table-mapped", Severity: sevError,
		Title: "a page table is mapped as memory",
		Why: "Who can write a page table maps whatever he likes. Programs reach this through a page that is freed while it is still mapped, " +
			"and then used as a table.",
		How: "A frame that is a table of any address space, and that an entry of a user half maps (a warning if read-only), or one of the kernel half " +
			"that is writable. The direct map and the kernel image map tables on purpose. A page of 1 GiB is looked at by the first frame of each 2 MiB.",
	},
	ruleBadTableEntry: {
		Name: "bad-table-entry", Severity: sevError,
		Title: "an entry that leads to a table has flags that no table has",
		Why:   "Linux reports and clears such an entry (\"bad pmd\") when it comes across it, and loses all that is below.",
		How: "In the user half, an entry that leads to a table must pass pmd_bad() and its like, and have RW and USER, as all that pmd_populate() makes. " +
			"Above the PMDs, in both halves, an entry must be empty or present.",
	},
	ruleReservedBits: {
		Name: "reserved-bits", Severity: sevError,
		Title: "reserved bits are set in a present entry",
		Why:   "The processor faults on every access, and the kernel kills whoever made it (\"Corrupted page table\"). It is the mark of damaged memory.",
		How: "Frame bits beyond the processor's physical addresses (--phys-bits; 52 if the capture does not say), NX where it is not enabled, PSE above " +
			"the PUDs.",
		Alarms: "An encryption bit that the capture does not name: see --enc-mask.",
	},
	ruleHugeMisaligned: {
		Name: "huge-misaligned", Severity: sevError,
		Title: "the frame of a large page is not aligned to its size",
		Why:   "The processor faults on every access: the bits below the frame are reserved.",
		How:   "A present PMD or PUD leaf, or one with PROT_NONE, with bits set between PAT and its frame.",
	},
	ruleUnreadTable: {
		Name: "unread-table", Severity: sevNote,
		Title: "a table could not be read, so that a part was not audited",
		Why:   "What is below it may hold anything.",
		How:   "An entry leads to a table that the capture does not have, or tables are linked so often that not all were followed.",
	},
}
