package ptescan

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"ptemu/arch/x86"
)

// raceVariable in the environment makes the test binary race on purpose.
const raceVariable = "PT_TEST_RACE"

// raceOnPurpose writes an entry while a kernel works on the table, and exits.
func raceOnPurpose() {
	var tab Table
	h, done := x86.PTEHarvest{Exists: 1, Report: 1, Clear: 1}, make(chan bool)
	go func() {
		Harvest(&h, &tab, 0, 511, new(Harvested))
		done <- true
	}()
	tab[77] = 1
	<-done
	os.Exit(0)
}

// TestRaceDetected: the race detector sees what the kernels write.
func TestRaceDetected(t *testing.T) {
	if !raceEnabled {
		t.Skip("built without -race")
	}
	for _, l := range levelNames {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), raceVariable+"=1", capVariable+"="+l)
		if out, _ := cmd.CombinedOutput(); !strings.Contains(string(out), "DATA RACE") {
			t.Errorf("%s: no race reported: %s", l, out)
		}
	}
}
