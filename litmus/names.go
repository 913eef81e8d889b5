package litmus

import (
	"fmt"
	"strings"

	"ptemu/mm"
)

// Names returns words of the language, one a line: "points", "policies", "verbs" or "items".
func Names(of string) (lines []string) {
	switch of {
	case "points":
		return pointNames()
	case "policies":
		for _, h := range mm.HistoricPolicies() {
			lines = append(lines, h.Name+": "+h.Doc)
		}
	case "verbs":
		for i := range verbs {
			lines = append(lines, verbs[i].usage())
		}
	case "items":
		for _, it := range items {
			lines = append(lines, it.usage())
		}
	}
	return lines
}

var argUsage = map[argKind]string{
	argPages: "PAGES", argTo: "PAGES", argRegion: "NEW-REGION", argChild: "CHILD", argFile: "FILE", argOfFile: "FILE", argHandle: "HANDLE",
	argOfHandle: "HANDLE", argMark: "NAME", argCount: "COUNT", argProt: "PROT", argWordTo: "to", argWordAs: "as",
	argAdvice: "ADVICE",
}

// usage is the grammar of the verb in a line.
func (s *verbSpec) usage() string {
	w := []string{s.name}
	for _, a := range s.args {
		w = append(w, argUsage[a])
	}
	for i := 0; i < len(s.options); {
		j := i + 1
		for s.options[i].group != 0 && j < len(s.options) && s.options[j].group == s.options[i].group {
			j++
		}
		var alternatives []string
		for _, o := range s.options[i:j] {
			alternatives = append(alternatives, o.name+[...]string{"", " N", " FILE", " REGION"}[o.kind])
		}
		w = append(w, "["+strings.Join(alternatives, "|")+"]")
		i = j
	}
	switch {
	case s.name == "expect":
		w = append(w, "ITEM...")
	case s.name == "continue":
		w = append(w, "[until POINT]")
	}
	if s.outcome&outcomeAccess != 0 {
		w = append(w, "[faults WHO|fault|no-fault]")
	}
	if s.outcome&outcomeCall != 0 {
		w = append(w, "[fails ERRNO]")
	}
	return strings.Join(w, " ")
}

func (s *itemSpec) usage() string {
	switch s.kind {
	case itemNum:
		return s.name + " N"
	case itemMark:
		return s.name + " NAME"
	case itemPlace:
		return s.name + " [PROCESS:] PAGES"
	case itemList:
		return fmt.Sprintf("%s LIST of %s", s.name, strings.Join(s.list, ","))
	}
	return s.name
}
