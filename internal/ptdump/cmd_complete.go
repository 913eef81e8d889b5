package ptdump

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ptemu/capture"
	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/session"
	"ptemu/internal/ptdump/where"
	"ptemu/linux/proc"
)

// completeCaptures completes the first n arguments as captures, and what follows not at all.
func completeCaptures(n int) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) < n {
			return captureFiles(word)
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeCaptureAndPID completes a capture, and then a process in it.
func completeCaptureAndPID(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 1 {
		return completePIDs(cmd, args, word)
	}
	return completeCaptures(1)(cmd, args, word)
}

// otherFile is a name that no capture has: a text, a program, a picture.
var otherFile = regexp.MustCompile(`(?i)\.(txt|log|md|html?|svg|json|jsonl|csv|sarif|go|mod|sum|py|c|h|o|a|so|sh|1|ps1|ya?ml|toml|png|jpe?g|pt)$`)

// captureFiles lists the folders and the files that may be captures. Where all or none are, or names need quoting, the shell
// lists them better itself.
func captureFiles(word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	dir, base := filepath.Split(word)
	files, err := os.ReadDir(filepath.Join(".", dir))
	if filepath.IsAbs(dir) {
		files, err = os.ReadDir(dir)
	}
	if err != nil {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var names []cobra.Completion
	others, folders, captures := 0, 0, 0
	for _, f := range files {
		name := f.Name()
		switch bare := strings.TrimSuffix(strings.TrimSuffix(name, ".zst"), ".gz"); {
		case !strings.HasPrefix(name, base), base == "" && strings.HasPrefix(name, "."):
		case strings.ContainsAny(name, " \t\"'\\$`&;|<>()*?[]{}:"):
			return nil, cobra.ShellCompDirectiveDefault
		case f.IsDir():
			folders++
			names = append(names, dir+name+"/")
		case otherFile.MatchString(bare):
			others++
		default:
			captures++
			names = append(names, dir+name)
		}
	}
	directive := cobra.ShellCompDirectiveNoFileComp
	switch {
	case others == 0 || captures == 0:
		return nil, cobra.ShellCompDirectiveDefault
	case folders > 0:
		directive |= cobra.ShellCompDirectiveNoSpace
	}
	return names, directive
}

// What it may take to look for processes while someone waits for a completion.
const (
	completeTime   = time.Second
	completeUnpack = 16 << 20 // bytes of a compressed file
)

// completePIDs completes a process of the capture, where that stands on the line already and can be looked into quickly.
func completePIDs(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	if len(args) == 0 || strings.HasPrefix(args[0], capture.LivePrefix) {
		return nil, none
	}
	st, err := os.Stat(args[0])
	if ext := filepath.Ext(args[0]); err != nil || !st.Mode().IsRegular() || (ext == ".gz" || ext == ".zst") && st.Size() > completeUnpack {
		return nil, none
	}
	ctx, cancel := context.WithTimeout(context.Background(), completeTime)
	defer cancel()
	in, err := session.OpenForProcesses(ctx, args[0], &session.Options{CPU: -1, Root: session.RootNames[0]})
	if in != nil {
		defer in.Close()
	}
	if err != nil {
		return nil, none
	}
	spaces, err := in.Processes(ctx, proc.Options{})
	if err != nil {
		return nil, none
	}
	var out []cobra.Completion
	for _, p := range spaces.Procs.List {
		if p.MM != nil && p.PID >= 0 {
			out = append(out, cobra.CompletionWithDesc(fmt.Sprint(p.PID), report.QuoteName(p.Comm)))
		}
	}
	return out, none | cobra.ShellCompDirectiveKeepOrder
}

// completeWhere completes the last word of an expression.
func completeWhere(_ *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	before := word[:strings.LastIndexAny(word, " &|!()")+1]
	var out []cobra.Completion
	for _, w := range whereWords() {
		out = append(out, before+w)
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// whereWords are the words of the language of --where: those of its help that mean something in it, alone or compared.
func whereWords() []string {
	var out []string
	for _, w := range regexp.MustCompile(`[a-z][a-z0-9-]*`).FindAllString(where.Help, -1) {
		_, alone := where.Parse(w)
		_, compared := where.Parse(w + "==0x0")
		if alone == nil || compared == nil {
			out = append(out, w)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
