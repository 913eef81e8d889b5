package audit

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ptemu/internal/ptdump/usage"
)

// Choose returns what --only, --skip and --min-severity ask for.
func Choose(only, skip []string, min string) (Options, error) {
	opt := Options{Min: severity(slices.Index(SeverityNames, min))}
	for i := range opt.Rules {
		opt.Rules[i] = len(only) == 0
	}
	for _, list := range []struct {
		flag  string
		names []string
		on    bool
	}{{"--only", only, true}, {"--skip", skip, false}} {
		for _, name := range list.names {
			id, ok := ruleNamed(name)
			if !ok {
				return opt, unknownRule(list.flag, name)
			}
			opt.Rules[id] = list.on
		}
	}
	return opt, nil
}

func unknownRule(flag, name string) error {
	hint := ""
	near := slices.MaxFunc(RuleNames(), func(a, b string) int {
		return cmp.Or(cmp.Compare(common(a, name), common(b, name)), cmp.Compare(len(b), len(a)))
	})
	if usage.Distance(near, name) <= 1+len(near)/3 || name != "" && strings.Contains(near, name) {
		hint = fmt.Sprintf(", did you mean %s?", near)
	}
	return usage.Errorf("%s %q: there is no such rule%s (--list prints all)", flag, name, hint)
}

// common is how many letters of what was asked for a name has in the same order.
func common(name, asked string) int {
	best := make([]int, len(asked)+1)
	for i := range len(name) {
		before := 0
		for j := range len(asked) {
			here := best[j+1]
			if name[i] == asked[j] {
				best[j+1] = before + 1
			}
			before = here
			best[j+1] = max(best[j+1], best[j], here)
		}
	}
	return best[len(asked)]
}

// RuleTexts returns all rules, one a line, or the documentation of the one that is called explain; in JSON, the same as
// objects.
func RuleTexts(explain, format string) ([]byte, error) {
	text, chosen := listRules(), rules[:]
	if explain != "" {
		id, ok := ruleNamed(explain)
		if !ok {
			return nil, unknownRule("--explain", explain)
		}
		text, chosen = rules[id].explain(), rules[id:id+1]
	}
	switch format {
	case "csv":
		return nil, usage.Errorf("--list and --explain are texts: they do not go with --format csv")
	case "json", "jsonl":
		return rulesJSON(chosen, format == "json")
	}
	return text, nil
}
