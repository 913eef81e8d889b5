package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"ptemu/internal/truth"
)

// checkFrames holds what the kernel counted, how many entries map each frame, against the pagemaps of all processes: a process
// that changed after its pages were printed is found so. It returns how many frames it compared; none where no
// processes were printed with their pages.
//
// Not compared are frames of zeros, which are never counted, and hugetlb pages of shared mappings, for which two processes may
// share a table. Processes that share an address space are one.
func checkFrames(guestLog []byte) (int, error) {
	all, err := truth.ReadProcesses(bytes.NewReader(guestLog))
	if err != nil || len(all.Frames) == 0 {
		return 0, err
	}
	who := map[uint64][]truth.Mapping{}
	for i, p := range all.List {
		sameSpace := func(q *truth.Process) bool { return slices.Equal(q.Runs, p.Runs) }
		if slices.ContainsFunc(all.List[:i], sameSpace) {
			continue
		}
		err := p.EachPage(func(va, word uint64) error {
			if word&truth.PagemapPresent != 0 {
				who[word&truth.PagemapFrame] = append(who[word&truth.PagemapFrame], truth.Mapping{PID: p.PID, VA: va})
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	for frame, maps := range who {
		said := all.Frames[frame].Maps
		if said == uint64(len(maps)) || said == 0 && len(maps) > 1 || mayShareTable(all, maps[0]) {
			continue
		}
		return 0, fmt.Errorf("frame %#x: mapped %d times, found %d times: %v", frame, said, len(maps), maps)
	}
	for frame, use := range all.Frames {
		if who[frame] == nil {
			return 0, fmt.Errorf("frame %#x: mapped %d times, but by no process", frame, use.Maps)
		}
	}
	return len(who), nil
}

func mayShareTable(all *truth.Processes, m truth.Mapping) bool {
	area := all.ByPID(m.PID).Area(m.VA)
	return area.Has("ht") && strings.HasSuffix(area.Perms, "s")
}
