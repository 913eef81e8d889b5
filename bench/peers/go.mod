module ptemu/bench/peers

go 1.26.0

replace ptemu => ../..

require (
	gvisor.dev/gvisor v0.0.0-20260122175437-89a5d21be8f0
	ptemu v0.0.0
)

require (
	github.com/klauspost/cpuid/v2 v2.4.2 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/time v0.12.0 // indirect
)
