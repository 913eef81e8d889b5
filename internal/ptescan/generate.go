package ptescan

//go:generate sh -e _asm/generate.sh
