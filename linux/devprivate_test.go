package linux

import (
	"fmt"
	"strings"
	"testing"
)

// TestDevicePrivate: what decides, and how surely.
func TestDevicePrivate(t *testing.T) {
	zones := func(n, nodes int) *VMCoreInfo {
		v, err := ParseVMCoreInfo(fmt.Appendf(nil, "SIZE(zone)=1728\nOFFSET(pglist_data.node_zones)=0\nLENGTH(node_data)=%d\n"+
			"OFFSET(pglist_data.nr_zones)=%d\n", nodes, n*1728+2*(16*(n*nodes+1))))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	on := imageText{config: buildConfig{"CONFIG_DEVICE_PRIVATE": "y"}}
	off := imageText{config: buildConfig{"CONFIG_EFI": "y"}, deviceExclusive: true}
	for _, c := range []struct {
		name, release string
		vmci          *VMCoreInfo
		image         imageText
		on, certain   bool
		why           string
	}{
		{"config on", "6.1.0-1-amd64", zones(2, 64), on, true, true, "IKCONFIG"},
		{"config off", "7.2.0-amd64", nil, off, false, true, "IKCONFIG"},
		{"name", "6.1.0-1-amd64", nil, imageText{deviceExclusive: true, exports: true}, true, true, "make_device_exclusive"},
		{"no name", "7.2.0-amd64", nil, imageText{exports: true}, false, true, "make_device_exclusive"},
		{"old, name", "5.10.0-46-amd64", nil, imageText{migrateVMA: true, exports: true}, true, true, "migrate_vma_setup"},
		{"old, no name", "5.10.0-46-amd64", nil, imageText{exports: true}, false, true, "migrate_vma_setup"},
		{"not so old", "5.14.0", nil, imageText{migrateVMA: true, exports: true}, false, true, "make_device_exclusive"},
		{"no release, neither", "", nil, imageText{exports: true}, false, true, "make_device_exclusive"},
		{"no release", "", nil, imageText{migrateVMA: true, exports: true}, false, false, "nothing in the capture"},
		{"two zones", "7.2.0-amd64", zones(2, 64), imageText{}, false, true, "two memory zones"},
		{"four zones", "7.2.0", zones(4, 1024), imageText{}, false, false, "4 memory zones"},
		{"five zones", "7.2.13+deb14-amd64", zones(5, 1024), imageText{}, true, false, "Debian"},
		{"Debian 13", "6.12.107+deb13-amd64", zones(5, 1024), imageText{}, false, false, "up to 6.12"},
		{"other", "6.12.5-200.fc41.x86_64", nil, imageText{}, false, false, "nothing in the capture"},
		{"none", "", nil, imageText{}, false, false, "nothing in the capture"},
	} {
		gotOn, certain, why := devicePrivate(c.release, c.vmci, c.image)
		if gotOn != c.on || certain != c.certain || !strings.Contains(why, c.why) {
			t.Errorf("%s: %v, certain %v: %s", c.name, gotOn, certain, why)
		}
	}
	if n, ok := zones(7, 64).zones(); ok {
		t.Errorf("%d zones, more than there can be", n)
	}
}

// TestZonesOfCaptures: Debian builds with ZONE_DEVICE, the small kernel without.
func TestZonesOfCaptures(t *testing.T) {
	for _, c := range committed {
		s, _ := detect(t, committedDir+"/"+c.dir+"/tables.elf.zst", Options{})
		want := 5
		if c.dir == "kernel-ptdump-7.2-la57" {
			want = 4
		}
		if n, ok := s.VMCoreInfo.zones(); !ok || n != want {
			t.Errorf("%s: %d zones, %v", c.dir, n, ok)
		}
	}
}

func TestDevicePrivateContradicted(t *testing.T) {
	for _, c := range []struct {
		name    string
		setting bool
		use     SwapUse
		want    string
	}{
		{"plain swap", false, SwapUse{0, SwapFile, SwapFile, 100, 100}, ""},
		{"migration that is migration", false, SwapUse{28, SwapDevice, SwapRAM, 5, 0}, ""},
		{"migration taken for device memory", true, SwapUse{28, SwapDevice, SwapRAM, 5, 0}, "device memory"},
		{"device memory taken for migration", false, SwapUse{28, SwapDevice, SwapRAM, 0, 3}, "names one above it"},
		{"mixed", true, SwapUse{28, SwapDevice, SwapRAM, 5, 1}, ""},
		{"hwpoison taken for a swap file", false, SwapUse{24, SwapRAM, SwapFile, 1, 0}, "swap file number 24"},
		{"many swap files", false, SwapUse{24, SwapRAM, SwapFile, 1, 7}, ""},
		{"a low swap file", false, SwapUse{3, SwapRAM, SwapFile, 1, 0}, ""},
		{"no such type", true, SwapUse{29, SwapUnused, SwapRAM, 1, 0}, "does not exist"},
		{"in neither", true, SwapUse{29, SwapUnused, SwapUnused, 1, 0}, ""},
		{"markers", true, SwapUse{31, SwapOther, SwapOther, 9, 9}, ""},
	} {
		got := DevicePrivateContradicted(c.setting, []SwapUse{{Type: 1, On: SwapFile, Off: SwapFile, InRAM: 1}, c.use})
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
