package litmus

import (
	"errors"

	"ptemu/mm"
)

// outcome says how a call ended.
func outcome(err error) Outcome {
	if err == nil {
		return Outcome{}
	}
	var wrong wrongError
	if errors.As(err, &wrong) {
		return Outcome{Wrong: string(wrong)}
	}
	var access *mm.AccessError
	var uffd *mm.UffdFault
	var wait *mm.WaitError
	switch {
	case errors.As(err, &uffd):
		if uffd.WP {
			return Outcome{Faults: "uffd-wp"}
		}
		return Outcome{Faults: "uffd-missing"}
	case errors.As(err, &wait):
		return Outcome{Faults: "waits"}
	case errors.As(err, &access):
		if name, ok := signalNames[access.Signal]; ok {
			return Outcome{Faults: name}
		}
	}
	for _, known := range errnos {
		if errors.Is(err, known) {
			return Outcome{Errno: known.Error()}
		}
	}
	return Outcome{Err: err}
}

var signalNames = map[mm.Signal]string{
	mm.SegvMapErr: "segv-map", mm.SegvAccErr: "segv-access", mm.SegvPkuErr: "segv-pkey", mm.BusAdrErr: "bus",
	mm.BusHWPoison: "hwpoison", mm.Killed: "killed",
}

var errnos = []error{
	mm.ErrInval, mm.ErrNoMem, mm.ErrAgain, mm.ErrExist, mm.ErrNoEnt, mm.ErrFault, mm.ErrBusy, mm.ErrAccess, mm.ErrPerm, mm.ErrNoSys,
	mm.ErrIO, mm.ErrHWPois, mm.ErrSrch, mm.ErrRestart,
}
