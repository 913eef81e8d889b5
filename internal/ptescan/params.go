package ptescan

import "ptemu/arch/x86"

// The parameters of the kernels, by names that the generator can resolve.
type (
	harvestParams = x86.PTEHarvest
	zapParams     = x86.PTEZap
	kindsParams   = x86.PTEKinds
	runsParams    = x86.PTERuns
)
