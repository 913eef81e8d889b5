package main

import (
	"bytes"
	"strings"
	"testing"
)

const goodTLB = "0000000000400000: 0000000000200000 --PDA--UW\n" +
	"0000010000000000: 0000000000005000 X---A--U-\n" +
	"0000010000003000: 00000000fd000000 X---A--UW\n" +
	"ffff888000000000: 0000000000000000 XGPDA---W\n"

const goodLog = "WORKLOAD START\r\nNOTE guard invalid argument\r\n" +
	"REGION huge 400000 2000\r\nPM 401000 8100000000000201\r\n" +
	"REGION r 10000000000 3000\r\n" +
	"PM 10000000000 8100000000000005\r\n" +
	"PM 10000001000 0000000000000000\r\n" +
	"PM 10000002000 8100000000000007\r\n" +
	"REGION device 10000003000 1000\r\nPM 10000003000 0000000000000000\r\n" +
	"S 10000000000-10000002000 rw-p 00000000 00:00 0 \r\nS VmFlags: rd wr mr mw me \r\n" +
	"S 10000002000-10000003000 ---p 00000000 00:00 0 \r\nS VmFlags: mr mw me \r\n" +
	"S 10000003000-10000004000 rw-s 00000000 00:00 0 /x\r\nS VmFlags: rd wr sh pf io \r\nREADY\r\n"

func TestCheckAgrees(t *testing.T) {
	sum, err := check([]byte(goodLog), goodTLB)
	if err != nil {
		t.Fatal(err)
	}
	want := checkSum{regions: 3, words: 5, mapped: 2, noRights: 1, notPresent: 1, unwalked: 1, notes: 1}
	if sum != want {
		t.Errorf("got %+v, want %+v", sum, want)
	}
}

// TestCheckFinds changes one fact at a time, and the check must fail for each.
func TestCheckFinds(t *testing.T) {
	changes := []struct{ name, inLog, logTo, inTLB, tlbTo string }{
		{name: "another frame", inLog: "8100000000000005", logTo: "8100000000000006"},
		{name: "another huge frame", inLog: "8100000000000201", logTo: "8100000000000200"},
		{name: "mapped but not present", inLog: "8100000000000005", logTo: "0100000000000005"},
		{name: "present but not mapped", inLog: "PM 10000001000 0", logTo: "PM 10000001000 8"},
		{name: "leaf lost", inTLB: "0000010000000000: 0000000000005000 X---A--U-\n"},
		{name: "hole without rights only by smaps", inLog: "---p", logTo: "r--p"},
		{name: "device without bare frames", inLog: " pf ", logTo: " "},
		{name: "no words", inLog: "PM ", logTo: "QM "},
		{name: "broken word", inLog: "8100000000000007", logTo: "xyz"},
		{name: "broken leaf", inTLB: "0000000000005000", tlbTo: "?"},
	}
	for _, c := range changes {
		t.Run(c.name, func(t *testing.T) {
			log, tlb := goodLog, goodTLB
			if c.inLog != "" {
				log = strings.ReplaceAll(log, c.inLog, c.logTo)
			}
			if c.inTLB != "" {
				tlb = strings.ReplaceAll(tlb, c.inTLB, c.tlbTo)
			}
			if log == goodLog && tlb == goodTLB {
				t.Fatal("the case changes nothing")
			}
			if sum, err := check([]byte(log), tlb); err == nil {
				t.Errorf("accepted: %v", sum)
			}
		})
	}
}

const framesLog = "P 5 5 1 S user \"a\"\nA 1000-4000 rw-s 00000000 00:01 7 /a\nA VmFlags: rd wr sh \nR 1000 2 8100000000000010\nR 3000 1 4000000000000010\n" +
	"P 6 6 5 S user \"a vfork child\"\nA 1000-4000 rw-s 00000000 00:01 7 /a\nA VmFlags: rd wr sh \nR 1000 2 8100000000000010\nR 3000 1 4000000000000010\n" +
	"F 10 1 0\nF 11 2 0\n" +
	"P 1 1 0 R user \"init\"\nA 5000-8000 rw-s 00000000 00:01 7 /a\nA VmFlags: rd wr sh \nR 5000 1 8000000000000011\nR 6000 1 8000000000000099\nR 7000 1 8000000000000099\n"

func TestCheckFrames(t *testing.T) {
	if n, err := checkFrames([]byte(framesLog)); n != 3 || err != nil {
		t.Fatalf("%d frames, %v", n, err)
	}
	if n, err := checkFrames([]byte(goodLog)); n != 0 || err != nil {
		t.Errorf("a log without processes: %d frames, %v", n, err)
	}
	for _, change := range [][2]string{
		{"F 11 2", "F 11 3"}, {"F 11 2", "F 12 2"}, {"F 10 1 0\n", ""}, {"R 5000 1 8000000000000011", "R 5000 1 8000000000000012"},
		{"R 7000 1 8000000000000099", "R 7000 1 0"}, {"R 5000 1 8000000000000011", "R 5000 1 0"},
	} {
		if n, err := checkFrames([]byte(strings.Replace(framesLog, change[0], change[1], 1))); err == nil {
			t.Errorf("%q to %q: accepted, %d frames", change[0], change[1], n)
		}
	}
	huge := strings.ReplaceAll(strings.Replace(framesLog, "F 11 2", "F 11 1", 1), "rd wr sh", "rd wr sh ht")
	if _, err := checkFrames([]byte(huge)); err != nil {
		t.Errorf("a shared table of huge pages: %v", err)
	}
}

func TestInUserMode(t *testing.T) {
	const user, idle = "CPL=3 \nCR3=0000000002ab5000 CR4=1\n", "CPL=0 \nCR3=0000000002ab4000 CR4=1\n"
	cases := []struct {
		registers string
		cpus      int
		want      bool
	}{
		{user, 1, true},
		{idle, 1, false},
		{user + idle, 2, true},
		{idle + user, 2, false},
		{user + strings.Replace(idle, "2ab4", "2ab6", 1), 2, false},
		{user, 2, false},
		{"", 1, false},
	}
	for _, c := range cases {
		if got := inUserMode(c.registers, c.cpus); got != c.want {
			t.Errorf("inUserMode(%q, %d) = %v", c.registers, c.cpus, got)
		}
	}
}

func TestWriteLiME(t *testing.T) {
	log := []byte("I 00000002-00000003 : System RAM\r\nI   00000002-00000002 : Kernel code\r\n" +
		"I 00000004-00000005 : Reserved\r\nI 00000006-00000008 : System RAM\r\n")
	var out bytes.Buffer
	if err := writeLiME(&out, strings.NewReader("0123456789"), systemRAM(log)); err != nil {
		t.Fatal(err)
	}
	want := "EMiL\x01\x00\x00\x00" + "\x02\x00\x00\x00\x00\x00\x00\x00" + "\x03\x00\x00\x00\x00\x00\x00\x00" + strings.Repeat("\x00", 8) + "23" +
		"EMiL\x01\x00\x00\x00" + "\x06\x00\x00\x00\x00\x00\x00\x00" + "\x08\x00\x00\x00\x00\x00\x00\x00" + strings.Repeat("\x00", 8) + "678"
	if out.String() != want {
		t.Errorf("got %q\nwant %q", out.String(), want)
	}
	if err := writeLiME(&out, strings.NewReader("0123"), systemRAM(log)); err == nil {
		t.Error("memory that ends before a range was accepted")
	}
	if err := writeLiME(&out, strings.NewReader("0123"), nil); err == nil {
		t.Error("a guest without memory was accepted")
	}
}
