package main

import (
	"bufio"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"ptemu/arch/x86"
	"ptemu/bench"
	"ptemu/internal/ptescan"
)

// Host is where and how the figures were made.
type Host struct {
	CPU      string   `json:"cpu"`
	CPUs     int      `json:"cpus"`
	Caches   []string `json:"caches"`
	Level    string   `json:"level"`
	Kernel   string   `json:"kernel"`   // the one that runs
	Emulated string   `json:"emulated"` // the one whose tables are changed
	Go       string   `json:"go"`
	Load     string   `json:"load"`
	Date     string   `json:"date"`
	Rounds   int      `json:"rounds"`
	Time     string   `json:"time"`
	Sets     []string `json:"sets"`
}

func thisHost(o *options) Host {
	h := Host{
		CPU: cpuModel(), CPUs: runtime.NumCPU(), Caches: caches(), Level: ptescan.CPULevel().String(),
		Kernel: strings.TrimSpace(runtime.GOOS + " " + line("/proc/sys/kernel/osrelease")), Emulated: x86.Linux6_12().Release,
		Go: runtime.Version(), Load: line("/proc/loadavg"), Date: time.Now().UTC().Format("2006-01-02 15:04 MST"),
		Rounds: o.rounds, Time: o.time.String(),
	}
	sizes, _ := o.chosenSizes()
	for _, s := range sizes {
		h.Sets = append(h.Sets, bench.SizeName(s))
	}
	return h
}

// line returns the content of a file of one line, or "" where there is none.
func line(name string) string {
	b, _ := os.ReadFile(name)
	return strings.TrimSpace(string(b))
}

func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer f.Close()
	fields := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan() && s.Text() != ""; {
		name, value, _ := strings.Cut(s.Text(), ":")
		fields[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	if fields["model name"] == "" {
		return runtime.GOARCH
	}
	return fields["model name"] + ", family " + fields["cpu family"] + " model " + fields["model"]
}

// caches returns the caches of the first processor.
func caches() (all []string) {
	dirs, _ := filepath.Glob("/sys/devices/system/cpu/cpu0/cache/index*")
	for _, d := range dirs {
		kind := map[string]string{"Data": "d", "Instruction": "i"}[line(filepath.Join(d, "type"))]
		all = append(all, "L"+line(filepath.Join(d, "level"))+kind+" "+line(filepath.Join(d, "size")))
	}
	return all
}
