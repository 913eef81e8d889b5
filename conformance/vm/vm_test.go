//go:build conformance

package vm

import (
	"context"
	"ptemu/conformance/wire"
	"testing"
)

func TestBoot(t *testing.T) {
	ctx := context.Background()
	m, err := Boot(ctx, Config{Kernels: "/var/tmp/ptemu-cache/kernels", Version: "7.2", Agent: "/tmp/agent"})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Slot(0).Ring(wire.OpSpawn, 1); err != nil {
		t.Fatal(err)
	}
	t.Logf("pid %d", m.Slot(0).Word(wire.Result))
	s := m.Slot(1)
	err = s.Ring(wire.OpSyscall, 39)
	t.Logf("getpid %d %v", s.Word(wire.Result), err)
	err = s.Ring(wire.OpSyscall, 39)
	t.Logf("getpid %d %v", s.Word(wire.Result), err)
	s.post(wire.OpSpin, nil)
	for range 3 {
		text, err := s.m.monitor.Human(ctx, "info registers", 0)
		t.Log(text[:700], err)
		t.Log(s.words[:200])
	}
}
