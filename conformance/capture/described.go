package main

import (
	"fmt"
	"slices"
	"strings"
)

// modeWords are the names' first words, and what the guest does then.
var modeWords = map[string]variant{
	"linux": {what: "regions of one process", dumps: everyDump},
	"procs": {what: "processes of many kinds", mode: "processes", memoryMiB: 512, dumps: processDumps},
	"plain": {what: "ordinary processes", mode: "plain", dumps: processDumps},
}

// machineWords are the names' last words, and what they change.
var machineWords = map[string]func(*variant){
	"4level":   func(v *variant) { v.cpu = fourLevels },
	"la57":     func(v *variant) { v.cpu = maxProcessor },
	"meltdown": func(v *variant) { v.cpu = withMeltdown },
	"pti":      func(v *variant) { v.options += "pti=on " },
	"nopti":    func(v *variant) { v.options += "pti=off " },
	"nokaslr":  func(v *variant) { v.options += "nokaslr " },
	"2cpu":     func(v *variant) { v.cpus = 2 },
}

// describedVariant makes a variant of a name MODE-KERNEL-MACHINE, such as procs-6.12-rt-la57-2cpu. The kernel is whatever
// stands between the words for the guest and those for the machine.
func describedVariant(name string) (variant, error) {
	words := strings.Split(name, "-")
	v, ok := modeWords[words[0]]
	end := len(words)
	for end > 1 && machineWords[words[end-1]] != nil {
		end--
	}
	if !ok || end < 2 || end == len(words) {
		return v, fmt.Errorf("no such variant (capture -list), nor a name MODE-KERNEL-MACHINE: modes %s; words for the machine %s",
			sortedKeys(modeWords), sortedKeys(machineWords))
	}
	v.name, v.kernel, v.cpu, v.cpus = name, strings.Join(words[1:end], "-"), fourLevels, 1
	for _, word := range words[end:] {
		machineWords[word](&v)
	}
	v.what += "; " + strings.Join(words[end:], ", ")
	return v, nil
}

func sortedKeys[V any](m map[string]V) string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return strings.Join(keys, " ")
}
