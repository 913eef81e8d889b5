// Package usage is the words of ptdump's command line: the error of one that is wrong, numbers and addresses as users spell
// them, and how near a misspelt name is to a known one.
//
// What must always hold: whatever is refused names the argument, and becomes the exit code of wrong usage, wherever it is
// found.
package usage
