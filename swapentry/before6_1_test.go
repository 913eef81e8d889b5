package swapentry

import (
	"testing"

	"ptemu/arch/x86"
)

// linux5_10 has the features of 5.10.
func linux5_10(devicePrivate bool) *Layout {
	k := x86.Linux6_1()
	k.Release, k.DevicePrivate = "5.10", devicePrivate
	k.MarkerMask, k.SwapinErrorType, k.DeviceExclusiveTypes = 0, false, 0
	k.MigrationExclusive, k.MigrationAD, k.PagemapSwapExclusive, k.PagemapUffdWP = false, false, false, false
	return NewLayout(x86.MustABI(k, x86.DefaultPaging(4)))
}

// TestBefore6_1 holds the type numbers against those of 5.10's include/linux/swap.h, and entries against some that a running
// 5.10 wrote.
func TestBefore6_1(t *testing.T) {
	for on, want := range map[bool]Types{
		false: {MaxSwapfiles: 29, HWPoison: 29, MigrationRead: 30, MigrationWrite: 31,
			DevicePrivateWrite: NoType, DevicePrivateRead: NoType},
		true: {MaxSwapfiles: 27, HWPoison: 27, MigrationRead: 28, MigrationWrite: 29,
			DevicePrivateWrite: 30, DevicePrivateRead: 31},
	} {
		want.MigrationReadExclusive, want.Marker, want.SwapinError = NoType, NoType, NoType
		want.DeviceExclusiveWrite, want.DeviceExclusiveRead = NoType, NoType
		if got := linux5_10(on).Types(); got != want {
			t.Errorf("CONFIG_DEVICE_PRIVATE %v: %+v, want %+v", on, got, want)
		}
	}
	l := linux5_10(false)
	for raw, want := range map[uint64]Entry{
		0xefffffffff9bfe00: {Kind: KindHWPoison, Type: 29, PFN: 0x3200, Offset: 0x3200},
		0xefffffffff7fc600: {Kind: KindHWPoison, Type: 29, PFN: 0x401c, Offset: 0x401c},
		0x07ffffffffff2004: {Kind: KindSwap, Offset: 0x6f, UffdWP: true},
		0x0ffffffffff89404: {Kind: KindSwap, Type: 1, Offset: 0x3b5, UffdWP: true},
	} {
		want.Level = x86.LevelPTE
		if got := l.Decode(x86.LevelPTE, raw); got != want {
			t.Errorf("%#x: %+v, want %+v", raw, got, want)
		}
	}
	if s := l.MakePTEMarkerEntry(MarkerUffdWP) | l.MakeReadableExclusiveMigrationEntry(1); s != 0 {
		t.Errorf("an entry of a kind that the kernel does not have: %#x", uint64(s))
	}
	// What pagemap said of two of them, and of a protected page.
	for raw, want := range map[uint64]Pagemap{
		0x07ffffffffff2004: 0x4000000000000de0, 0x0ffffffffff89404: 0x40000000000076a1, 0x800000000bf8a465: 0x800000000000bf8a,
	} {
		if got := l.Pagemap(x86.LevelPTE, raw, 0, PageFacts{}); got != want {
			t.Errorf("pagemap of %#x: %#x, want %#x", raw, uint64(got), uint64(want))
		}
	}
}
