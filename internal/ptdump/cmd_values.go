package ptdump

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// choice adds a flag that takes one of a few values, the first by default.
func choice(cmd *cobra.Command, p *string, name, short string, values []string, usage string) {
	*p = values[0]
	usage += " (" + strings.Join(values, ", ") + ")"
	cmd.Flags().VarP(&choiceValue{p, values, strings.ToUpper(name)}, name, short, usage)
	complete(cmd, name, values)
}

func complete(cmd *cobra.Command, flag string, values []string) {
	completeFunc(cmd, flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

func completeFunc(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err) // a flag that does not exist, or twice
	}
}

// choiceValue is a pflag.Value that refuses what is not among its values.
type choiceValue struct {
	p      *string
	values []string
	what   string
}

func (c *choiceValue) String() string {
	if c.p == nil {
		return ""
	}
	return *c.p
}

func (c *choiceValue) Type() string { return c.what }

// Set takes a value; names of figures are as good with a hyphen as with the underscore that they have in JSON.
func (c *choiceValue) Set(s string) error {
	for _, v := range c.values {
		if v == s || v == strings.ReplaceAll(s, "-", "_") {
			*c.p = v
			return nil
		}
	}
	return fmt.Errorf("want %s", strings.Join(c.values, ", "))
}

// addSwitch adds a flag that is auto, on or off; bare, it is on.
func addSwitch(cmd *cobra.Command, p *string, name, usage string) {
	*p = autoOnOff[0]
	f := cmd.Flags().VarPF(&switchValue{choiceValue{p, autoOnOff, "bool"}}, name, "",
		usage+" ("+strings.Join(autoOnOff, ", ")+", after = or a blank; on if bare)")
	f.NoOptDefVal = "on"
	complete(cmd, name, autoOnOff)
}

// switchWords are what can be said of a switch.
var switchWords = map[string]string{
	"auto": "auto", "on": "on", "y": "on", "yes": "on", "true": "on", "off": "off", "n": "off", "no": "off", "false": "off",
}

// switchValue is a choiceValue of autoOnOff that has other words for the same.
type switchValue struct{ choiceValue }

func (s *switchValue) Set(word string) error {
	if v, ok := switchWords[strings.ToLower(word)]; ok {
		word = v
	}
	return s.choiceValue.Set(word)
}

// joinDevicePrivate returns the arguments with "--device-private off" written as "--device-private=off": as the flag
// may stand alone, it takes a word after it only if that is one of its own. A file of such a name is "./off".
func joinDevicePrivate(args []string) []string {
	const flag = "--device-private"
	out := []string{} // not nil, for which cobra takes the arguments of this program
	for i := 0; i < len(args); i++ {
		if args[i] == "--" {
			return append(out, args[i:]...)
		}
		if args[i] == flag && i+1 < len(args) {
			if _, ok := switchWords[strings.ToLower(args[i+1])]; ok {
				out = append(out, flag+"="+args[i+1])
				i++
				continue
			}
		}
		out = append(out, args[i])
	}
	return out
}
