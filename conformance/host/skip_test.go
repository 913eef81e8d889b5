//go:build !(linux && amd64)

package host

import "testing"

// TestHost says why nothing is tested.
func TestHost(t *testing.T) { t.Skip("only Linux on amd64 has page tables like the emulator's") }
