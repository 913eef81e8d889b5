package vectors

import "ptemu/arch/x86"

var pteFunctions = map[string]function{
	"pte_none":              pred(x86.PTE.None),
	"pte_present":           pred(x86.PTE.Present),
	"pte_protnone":          pred(x86.PTE.Protnone),
	"pte_write":             predABI(x86.PTE.Write),
	"pte_write@shstk":       predShstk(x86.PTE.Write),
	"pte_shstk":             predABI(x86.PTE.Shstk),
	"pte_shstk@shstk":       predShstk(x86.PTE.Shstk),
	"pte_dirty":             predABI(x86.PTE.Dirty),
	"pte_young":             pred(x86.PTE.Young),
	"pte_special":           pred(x86.PTE.Special),
	"pte_devmap":            predABI(x86.PTE.Devmap),
	"pte_soft_dirty":        pred(x86.PTE.SoftDirty),
	"pte_uffd_wp":           pred(x86.PTE.UffdWP),
	"pte_exec":              pred(x86.PTE.Exec),
	"pte_huge":              pred(x86.PTE.Huge),
	"pte_global":            pred(x86.PTE.Global),
	"pte_access_permitted":  permitted(x86.PTE.AccessPermitted),
	"pte_pfn":               valueABI(x86.PTE.PFN),
	"pte_flags":             valueABI(x86.PTE.Flags),
	"pte_flags_pkey":        value(func(p x86.PTE) uint64 { return uint64(p.Pkey()) }),
	"pfn_pte":               fromPFN(x86.MkPTE),
	"pte_modify":            modify(x86.PTE.Modify),
	"pte_wrprotect":         valueABI(x86.PTE.WrProtect),
	"pte_mkwrite":           valueABI(x86.PTE.MkWrite),
	"pte_mkwrite@shstk_vma": maybeMkWrite(x86.PTE.MaybeMkWrite, x86.VMWrite|x86.VMShadowStack),
	"pte_mkwrite_novma":     value(x86.PTE.MkWriteNoVMA),
	"pte_mkwrite_shstk":     value(x86.PTE.MkWriteShstk),
	"pte_mksaveddirty":      valueABI(x86.PTE.MkSavedDirty),
	"pte_clear_saveddirty":  valueABI(x86.PTE.ClearSavedDirty),
	"pte_mkdirty":           valueABI(x86.PTE.MkDirty),
	"pte_mkclean":           valueABI(x86.PTE.MkClean),
	"pte_mkyoung":           value(x86.PTE.MkYoung),
	"pte_mkold":             value(x86.PTE.MkOld),
	"pte_mkexec":            value(x86.PTE.MkExec),
	"pte_mkspecial":         value(x86.PTE.MkSpecial),
	"pte_mkdevmap":          valueABI(x86.PTE.MkDevmap),
	"pte_mksoft_dirty":      value(x86.PTE.MkSoftDirty),
	"pte_clear_soft_dirty":  value(x86.PTE.ClearSoftDirty),
	"pte_mkuffd_wp":         valueABI(x86.PTE.MkUffdWP),
	"pte_clear_uffd_wp":     value(x86.PTE.ClearUffdWP),
	"pte_mkhuge":            value(x86.PTE.MkHuge),
	"pte_clrhuge":           value(x86.PTE.ClrHuge),
	"pte_mkglobal":          value(x86.PTE.MkGlobal),
	"pte_clrglobal":         value(x86.PTE.ClrGlobal),
	"pte_advance_pfn": {2, func(_ *Config, in []uint64) uint64 {
		return uint64(x86.PTE(in[0]).AdvancePFN(in[1]))
	}},
}

var pmdFunctions = map[string]function{
	"pmd_none":              pred(x86.PMD.None),
	"pmd_present":           pred(x86.PMD.Present),
	"pmd_bad":               predABI(x86.PMD.Bad),
	"pmd_leaf":              pred(x86.PMD.Leaf),
	"pmd_trans_huge":        predABI(x86.PMD.TransHuge),
	"pmd_devmap":            predABI(x86.PMD.Devmap),
	"pmd_protnone":          pred(x86.PMD.Protnone),
	"pmd_write":             predABI(x86.PMD.Write),
	"pmd_write@shstk":       predShstk(x86.PMD.Write),
	"pmd_shstk":             predABI(x86.PMD.Shstk),
	"pmd_shstk@shstk":       predShstk(x86.PMD.Shstk),
	"pmd_dirty":             predABI(x86.PMD.Dirty),
	"pmd_young":             pred(x86.PMD.Young),
	"pmd_special":           predABI(x86.PMD.Special),
	"pmd_soft_dirty":        pred(x86.PMD.SoftDirty),
	"pmd_uffd_wp":           pred(x86.PMD.UffdWP),
	"pmd_access_permitted":  permitted(x86.PMD.AccessPermitted),
	"pmd_pfn":               valueABI(x86.PMD.PFN),
	"pmd_flags":             valueABI(x86.PMD.Flags),
	"pmd_pfn_mask":          valueABI(x86.PMD.PFNMask),
	"pfn_pmd":               fromPFN(x86.MkPMD),
	"pmd_modify":            modify(x86.PMD.Modify),
	"pmd_mkinvalid":         valueABI(x86.PMD.MkInvalid),
	"pmd_wrprotect":         valueABI(x86.PMD.WrProtect),
	"pmd_mkwrite":           valueABI(x86.PMD.MkWrite),
	"pmd_mkwrite@shstk_vma": maybeMkWrite(x86.PMD.MaybeMkWrite, x86.VMWrite|x86.VMShadowStack),
	"pmd_mkwrite_novma":     value(x86.PMD.MkWriteNoVMA),
	"pmd_mkwrite_shstk":     value(x86.PMD.MkWriteShstk),
	"pmd_mksaveddirty":      valueABI(x86.PMD.MkSavedDirty),
	"pmd_clear_saveddirty":  valueABI(x86.PMD.ClearSavedDirty),
	"pmd_mkdirty":           valueABI(x86.PMD.MkDirty),
	"pmd_mkclean":           valueABI(x86.PMD.MkClean),
	"pmd_mkyoung":           value(x86.PMD.MkYoung),
	"pmd_mkold":             value(x86.PMD.MkOld),
	"pmd_mkhuge":            value(x86.PMD.MkHuge),
	"pmd_mkspecial":         value(x86.PMD.MkSpecial),
	"pmd_mkdevmap":          valueABI(x86.PMD.MkDevmap),
	"pmd_mksoft_dirty":      value(x86.PMD.MkSoftDirty),
	"pmd_clear_soft_dirty":  value(x86.PMD.ClearSoftDirty),
	"pmd_mkuffd_wp":         valueABI(x86.PMD.MkUffdWP),
	"pmd_clear_uffd_wp":     value(x86.PMD.ClearUffdWP),
}

var pudFunctions = map[string]function{
	"pud_none":             pred(x86.PUD.None),
	"pud_present":          pred(x86.PUD.Present),
	"pud_bad":              predABI(x86.PUD.Bad),
	"pud_leaf":             predABI(x86.PUD.Leaf),
	"pud_trans_huge":       predABI(x86.PUD.TransHuge),
	"pud_devmap":           predABI(x86.PUD.Devmap),
	"pud_write":            pred(x86.PUD.Write),
	"pud_write@shstk":      pred(x86.PUD.Write),
	"pud_shstk":            predABI(x86.PUD.Shstk),
	"pud_shstk@shstk":      predShstk(x86.PUD.Shstk),
	"pud_dirty":            predABI(x86.PUD.Dirty),
	"pud_young":            pred(x86.PUD.Young),
	"pud_special":          predABI(x86.PUD.Special),
	"pud_soft_dirty":       pred(x86.PUD.SoftDirty),
	"pud_access_permitted": permitted(x86.PUD.AccessPermitted),
	"pud_pfn":              valueABI(x86.PUD.PFN),
	"pud_flags":            valueABI(x86.PUD.Flags),
	"pud_pfn_mask":         valueABI(x86.PUD.PFNMask),
	"pfn_pud":              fromPFN(x86.MkPUD),
	"pud_modify":           modify(x86.PUD.Modify),
	"pud_mkinvalid":        valueABI(x86.PUD.MkInvalid),
	"pud_wrprotect":        valueABI(x86.PUD.WrProtect),
	"pud_mkwrite":          valueABI(x86.PUD.MkWrite),
	"pud_mksaveddirty":     valueABI(x86.PUD.MkSavedDirty),
	"pud_clear_saveddirty": valueABI(x86.PUD.ClearSavedDirty),
	"pud_mkdirty":          valueABI(x86.PUD.MkDirty),
	"pud_mkclean":          valueABI(x86.PUD.MkClean),
	"pud_mkyoung":          value(x86.PUD.MkYoung),
	"pud_mkold":            value(x86.PUD.MkOld),
	"pud_mkhuge":           value(x86.PUD.MkHuge),
	"pud_mkspecial":        value(x86.PUD.MkSpecial),
	"pud_mkdevmap":         valueABI(x86.PUD.MkDevmap),
	"pud_mksoft_dirty":     value(x86.PUD.MkSoftDirty),
	"pud_clear_soft_dirty": value(x86.PUD.ClearSoftDirty),
}

var upperFunctions = map[string]function{
	"p4d_none":    pred(x86.P4D.None),
	"p4d_present": pred(x86.P4D.Present),
	"p4d_bad":     predABI(x86.P4D.Bad),
	"p4d_leaf":    pred(x86.P4D.Leaf),
	"p4d_pfn":     valueABI(x86.P4D.PFN),
	"p4d_flags":   valueABI(x86.P4D.Flags),
	"pgd_none":    predABI(x86.PGD.None),
	"pgd_present": predABI(x86.PGD.Present),
	"pgd_bad":     predABI(x86.PGD.Bad),
	"pgd_leaf":    pred(x86.PGD.Leaf),
	"pgd_pfn":     valueABI(x86.PGD.PFN),
	"pgd_flags":   valueABI(x86.PGD.Flags),
}

var protFunctions = map[string]function{
	"vm_get_page_prot": {2, func(c *Config, in []uint64) uint64 {
		return uint64((x86.VMFlags(in[0]) | x86.PagePkey(int(in[1]))).PageProt(c.ABI))
	}},
	"pgprot_modify":       modify(x86.Prot.Modify),
	"pgprot_nx":           value(x86.Prot.NX),
	"pgprot_noncached":    value(x86.Prot.Noncached),
	"pgprot_writecombine": valueABI(x86.Prot.WriteCombine),
	"massage_pgprot":      valueABI(x86.Prot.Massage),
	"protval_4k_2_large":  value(x86.Prot.ToLarge),
	"protval_large_2_4k":  value(x86.Prot.LargeTo4K),
	"pgprot2cachemode":    value(func(p x86.Prot) uint64 { return uint64(p.CacheMode()) }),
	"cachemode2protval":   value(func(m uint64) x86.Prot { return x86.CacheMode(m).Protval() }),
}

var addressFunctions = map[string]function{
	"pte_index":    index(x86.LevelPTE),
	"pmd_index":    index(x86.LevelPMD),
	"pud_index":    index(x86.LevelPUD),
	"p4d_index":    index(x86.LevelP4D),
	"pgd_index":    index(x86.LevelPGD),
	"pmd_addr_end": addrEnd(x86.LevelPMD),
	"pud_addr_end": addrEnd(x86.LevelPUD),
	"p4d_addr_end": addrEnd(x86.LevelP4D),
	"pgd_addr_end": addrEnd(x86.LevelPGD),
}

func index(l x86.Level) function {
	return function{1, func(c *Config, in []uint64) uint64 {
		return uint64(c.ABI.Paging().Index(x86.Virt(in[0]), l))
	}}
}

func addrEnd(l x86.Level) function {
	return function{2, func(c *Config, in []uint64) uint64 {
		return uint64(c.ABI.Paging().AddrEnd(x86.Virt(in[0]), x86.Virt(in[1]), l))
	}}
}
