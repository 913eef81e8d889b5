package capture

import (
	"io"

	"ptemu/capture/qemu"
)

// LivePrefix before the path of a QMP socket stands for the guest of a running QEMU. The guest is paused until the capture is
// closed.
const LivePrefix = "qmp:"

// openLive pauses a running guest and takes its memory for a capture.
func openLive(path, socket string) (*Capture, error) {
	g, err := qemu.Open(socket)
	if err != nil {
		return nil, err
	}
	return &Capture{
		Path: path, Format: g.Format(), Mem: g, CPUs: g.CPUs, Notes: g.Notes, VMCoreInfo: g.VMCoreInfo, Remarks: g.Remarks,
		Size: -1, close: []io.Closer{g},
	}, nil
}
