package mm

import (
	"flag"
	"os"
	"testing"
)

// TestMain makes the random programs the same ones each time, unless -rapid.seed asks for others: what a change is judged by
// must not depend on luck. Long runs with other seeds are for finding.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("rapid.seed"); f != nil && f.Value.String() == "0" {
		if err := flag.Set("rapid.seed", "1"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
