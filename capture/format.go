package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"ptemu/capture/avml"
	"ptemu/capture/ferr"
	"ptemu/capture/lime"
)

// Format is a capture format, by the name that the command line uses.
type Format string

// The formats.
const (
	Auto  Format = "" // sniff
	ELF   Format = "elf"
	Kdump Format = "kdump"
	LiME  Format = "lime" // and AVML
	Raw   Format = "raw"  // a flat file, never guessed
)

// FormatError is a file that does not follow its format, at a place. See [ferr.FormatError].
type FormatError = ferr.FormatError

// What a file can be refused for as a whole.
var (
	// ErrUnknownFormat: the first bytes belong to no format that is read here.
	ErrUnknownFormat = errors.New("not a known capture format")
	// ErrTruncated: the file ends before bytes that it should hold.
	ErrTruncated = ferr.ErrTruncated
)

const headLen = 16

// formats are recognised by their first bytes; those without a Format are known but not read.
var formats = []struct {
	magic  string
	format Format
	name   string
}{
	{"\x7fELF", ELF, ""},
	{"KDUMP   ", Kdump, ""},
	{"makedumpfile\x00", Kdump, ""}, // or an ELF core
	{lime.Magic, LiME, ""},
	{avml.Magic, LiME, ""},
	{"PAGEDU64", "", "a Windows crash dump"},
	{"PAGEDUMP", "", "a Windows crash dump"},
	{"DISKDUMP", "", "a diskdump of an old kernel"},
	{"QEVM", "", "a QEMU migration stream; dump-guest-memory writes an ELF core"},
	{"LibvirtQemudSave", "", "a libvirt save file; virsh dump --memory-only writes an ELF core"},
	{"\xfd7zXZ\x00", "", "compressed with xz; unpack it first"},
	{"BZh", "", "compressed with bzip2; unpack it first"},
	{"\x04\x22\x4d\x18", "", "compressed with lz4; unpack it first"},
}

// sniff tells the format from the first bytes of the (unpacked) file.
func sniff(head []byte) (Format, error) {
	for _, f := range formats {
		if !bytes.HasPrefix(head, []byte(f.magic)) {
			continue
		}
		if f.format == Auto {
			return Auto, fmt.Errorf("%w, but %s", ErrUnknownFormat, f.name)
		}
		return f.format, nil
	}
	return Auto, fmt.Errorf("%w: at offset 0x0 it has %x. If it is a flat memory image, say so: --input raw", ErrUnknownFormat, head)
}

func isAVML(head []byte) bool { return bytes.HasPrefix(head, []byte(avml.Magic)) }

// readHead returns the first bytes of r, fewer if it is shorter.
func readHead(r io.ReaderAt) ([]byte, error) {
	head := make([]byte, headLen)
	n, err := r.ReadAt(head, 0)
	switch {
	case n == headLen:
	case err != nil && !errors.Is(err, io.EOF):
		return nil, err
	case n == 0:
		return nil, errors.New("the file is empty")
	}
	return head[:n], nil
}

// withPath puts the path in front of an error that does not name it yet.
func withPath(path string, err error) error {
	var fe *FormatError
	if errors.As(err, &fe) && fe.Path != "" {
		return err
	}
	return fmt.Errorf("%s: %w", path, err)
}
