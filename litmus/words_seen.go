package litmus

import "ptemu/swapentry"

// PagemapNames returns what is set of a word of /proc/pid/pagemap, by the names of the language.
func PagemapNames(w swapentry.PagemapParts) []string {
	var names []string
	for i, has := range []bool{w.Present, w.Swapped, w.File, w.Exclusive, w.SoftDirty, w.UffdWP, w.Guard} {
		if has {
			names = append(names, pagemapNames[i])
		}
	}
	return names
}

// ScanCategories is the number of categories of PAGEMAP_SCAN that have a name.
const ScanCategories = 9

// ScanNames returns the categories of PAGEMAP_SCAN that are set, by the names of the language.
//
// Linux: include/uapi/linux/fs.h
func ScanNames(categories uint64) []string {
	var names []string
	for i, n := range scanNames {
		if categories>>i&1 != 0 {
			names = append(names, n)
		}
	}
	return names
}
