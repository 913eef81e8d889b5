//go:build conformance

package conformance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ptemu/conformance/compare"
	"ptemu/conformance/kernel"
	"ptemu/litmus"
	"ptemu/litmus/gen"
)

func envInt(name string, def int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return def
}

func TestRandom(t *testing.T) {
	version := os.Getenv("PTEMU_KERNEL")
	ctx := context.Background()
	k, err := kernel.Open(ctx, kernel.Config{Kernel: version, Agent: "/tmp/agent"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { k.Close() }()
	emu, err := litmus.NewEmulator(&litmus.Program{}, version, "")
	if err != nil {
		t.Fatal(err)
	}
	defer emu.Close()
	has := func(op *litmus.Op) bool { return k.NotHere(op) == "" && emu.NotHere(op) == "" }
	fresh := func(p *litmus.Program) (litmus.Target, error) { return k.Fresh(ctx, p) }
	out := os.Getenv("PTEMU_FOUND")
	var all compare.Counts
	seed := uint64(envInt("PTEMU_SEED", 1))
	kinds := map[string]int{}
	stop := time.Now().Add(time.Duration(envInt("PTEMU_SECONDS", 60)) * time.Second)
	for i := range envInt("PTEMU_PROGRAMS", 100) {
		if time.Now().After(stop) {
			break
		}
		o := gen.Options{Topic: gen.Topics()[i%len(gen.Topics())], Has: has, Without: strings.Split(os.Getenv("PTEMU_WITHOUT"), ",")}
		if name := os.Getenv("PTEMU_TOPIC"); name != "" && o.Topic.String() != name {
			continue
		}
		p := gen.Program(seed+uint64(i), o)
		d, n, err := compare.Both(p, version, fresh)
		all.Add(n)
		if err != nil {
			t.Errorf("%s: %v", p.Name, err)
			if strings.HasPrefix(err.Error(), "kernel") {
				k.Close()
				if k, err = kernel.Open(ctx, kernel.Config{Kernel: version, Agent: "/tmp/agent"}); err != nil {
					t.Fatal(err)
				}
			} else {
				os.WriteFile(filepath.Join(out, p.Name+".err.pt"), []byte(p.String()), 0o666)
			}
			continue
		}
		if len(d) == 0 {
			continue
		}
		less := gen.Reduce(p, envInt("PTEMU_BUDGET", 60), func(p *litmus.Program) bool {
			d, _, err := compare.Both(p, version, fresh)
			return err == nil && len(d) > 0
		})
		d, _, err = compare.Both(less, version, fresh)
		if len(d) == 0 {
			t.Errorf("%s: comes and goes %v\n%s", p.Name, err, p)
			continue
		}
		kind := fmt.Sprintf("%s %s", d[0].Line.Op.Verb, d[0].What)
		kinds[kind]++
		if kinds[kind] <= 3 {
			t.Errorf("%s (%s)\n%s\n%v", p.Name, version, less, &d[0])
		}
		if out != "" {
			os.WriteFile(filepath.Join(out, version+"-"+less.Name+".pt"), []byte(less.String()+"# "+strings.ReplaceAll(d[0].String(), "\n", "\n# ")+"\n"), 0o666)
		}
	}
	t.Logf("%s: %v %v", k.Release(), all, kinds)
}
