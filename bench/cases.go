package bench

import "ptemu/arch/x86"

const (
	wp      = x86.ChangeUffdWP
	resolve = x86.ChangeUffdWPResolve
	try     = x86.ChangeTryWritable
	numa    = x86.ChangeNUMA
)

// The names of the cases that the Reach section of the report needs.
const (
	CaseDense       = "RW-R-RW"
	CaseEvery8      = "RW-R-RW every 8th"
	CaseSwapKept    = "RW-R-RW 1 in 8 swap"
	CaseSwapChanged = "uffd-wp-resolve 1 in 8 swap"
	CaseCandidates  = "R-RW exclusive"
	CaseScattered   = "R-RW exclusive, random frames"
	CaseNothing     = "nothing changes"
	CaseOnePage     = "one page"
	Case8Pages      = "8 pages"
	CaseTwo         = "two goroutines"
	CaseFork        = "fork copy"
	CaseForkNew     = "fork copy, new tables"
	CaseRuns        = "scan, uniform"
	CaseRuns64      = "scan, runs of 64"
	CaseRuns16      = "scan, runs of 16"
	CaseRuns4       = "scan, runs of 4"
)

// Cases returns the set.
func Cases() []Case {
	var all []Case
	all = append(all, changes()...)
	all = append(all, operations()...)
	all = append(all, smallCases()...)
	all = append(all, scans()...)
	all = append(all, translations()...)
	return append(all, twoCase())
}

// changes are those of change_pte_range().
func changes() []Case {
	toR, toRW := change{prot: ro}, change{prot: rw}
	tried := change{prot: ro, flags: try, frames: allExclusive}
	mixed := noCall("no call makes such entries among pages of a process")
	candidates := noCall("a process cannot choose which of its pages are exclusive")
	both := func(name string, f fill, there, back change, k kernelCall) Case {
		return changeCase(Case{Name: name, Floor: FloorXor, Shuffled: true, fill: f}, there, back, k)
	}
	first := func(name string, f fill, there, back change, k kernelCall) Case {
		return changeCase(Case{Name: name, Floor: FloorXor, First: true, fill: f}, there, back, k)
	}
	shared := changeCase(Case{Name: "R-RW all shared", Floor: FloorRead, fill: dense(ro)},
		change{prot: ro, flags: try, frames: allShared}, toR, noCall("needs a second process that shares the pages"))
	same := changeCase(Case{Name: CaseNothing, Floor: FloorRead, Shuffled: true, fill: dense(ro)}, toR, toR,
		noCall("mprotect() ends before the tables if the rights of a mapping stay"))
	return []Case{
		both(CaseDense, dense(rw), toR, toRW, kernelRWtoR),
		both("RW-R-RW dirty", dense(rw|x86.PageDirty|x86.PageSoftDirty), toR, toRW, kernelRWtoR),
		both(CaseEvery8, every8(rw), toR, toRW, kernelSparse),
		both("RW-R-RW 1 in 8 none", oneIn8(rw, noneEntry), toR, toRW, kernelHoles),
		both(CaseSwapKept, oneIn8(rw, swapped), toR, toRW, mixed),
		both("RW-R-RW 1 in 8 marker", oneIn8(rw, marker), toR, toRW, mixed),
		both("RW-R-RW 1 in 8 dirty", oneIn8(rw, dirtyPage), toR, toRW, mixed),
		first("R-RW 1 in 8 write candidate", oneIn8(ro|x86.PageSpecial, ordinary), tried, toR, candidates),
		both(CaseSwapChanged, oneIn8(ro, swapped), change{prot: ro, flags: wp}, change{prot: ro, flags: resolve}, mixed),
		first("RW-R", dense(rw), toR, toRW, kernelRWtoR),
		first(CaseCandidates, dense(ro), tried, toR, kernelRtoRW),
		first(CaseScattered, scattered(ro), tried, toR, candidates),
		shared,
		both("RW-NONE-RW", dense(rw), change{prot: x86.ProtNone}, toRW, kernelRWtoNone),
		both("uffd-wp-resolve", dense(ro), change{prot: ro, flags: wp}, change{prot: ro, flags: resolve}, kernelUffdWP),
		both("NUMA hint-RW", dense(rw), change{prot: x86.ProtNone, flags: numa}, toRW,
			noCall("only the kernel itself sets NUMA hints")),
		same,
	}
}
