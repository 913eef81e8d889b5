//go:build linux

#include "textflag.h"

// Offsets in the kernel's signal frame.
#define INFO_CODE 8
#define INFO_ADDR 16
#define UC_RSP 160
#define UC_RIP 168
#define UC_EFLAGS 176
#define UC_ERR 192
#define UC_TRAPNO 200

#define TRAP_FLAG 0x100
#define SIGTRAP 5

// func access(kind, addr, value, buffer, count uintptr)
TEXT ·access(SB), NOSPLIT|NOFRAME, $0-40
	MOVQ SP, ·savedSP(SB)
	MOVQ BP, ·savedBP(SB)
	MOVQ kind+0(FP), AX
	MOVQ addr+8(FP), SI
	MOVQ value+16(FP), BX
	MOVQ buffer+24(FP), DI
	MOVQ count+32(FP), CX
	CLD
	CMPQ AX, $1
	JEQ  store
	CMPQ AX, $2
	JEQ  exec
	REP; MOVSB
	RET

store:
	MOVQ SI, DI
	MOVQ BX, AX
	REP; STOSB
	RET

exec:
	// Whatever the instruction does with memory, it does in the middle of the buffer. The trap flag ends it.
	MOVQ SI, R11
	ADDQ $2048, DI
	MOVQ DI, AX
	MOVQ DI, BX
	MOVQ DI, DX
	MOVQ DI, SI
	MOVQ DI, R8
	MOVQ DI, R9
	MOVQ DI, R10
	MOVQ DI, R12
	MOVQ DI, R13
	MOVQ DI, R14
	MOVQ DI, R15
	MOVQ DI, BP
	MOVQ $1, CX
	MOVQ DI, SP
	PUSHFQ
	ORQ  $TRAP_FLAG, 0(SP)
	POPFQ
	JMP  R11

// landing is where the handler returns to.
TEXT ·landing(SB), NOSPLIT|NOFRAME, $0
	MOVQ BP, AX // what an exec left there
	MOVQ ·savedBP(SB), BP
	MOVQ ·savedSP(SB), SP
	CLD
	RET

// handler notes the signal and leaves the access. The first trap of an exec comes before the instruction.
TEXT ·handler(SB), NOSPLIT|NOFRAME, $0
	CMPL DI, $SIGTRAP
	JNE  note
	INCQ ·execTraps(SB)
	CMPQ ·execTraps(SB), $1
	JNE  note
	MOVQ UC_RIP(DX), AX
	CMPQ AX, ·execTarget(SB)
	JNE  note
	RET

note:
	MOVLQZX DI, DI
	MOVQ DI, ·sigNumber(SB)
	MOVLQSX INFO_CODE(SI), AX
	MOVQ AX, ·sigCode(SB)
	MOVQ INFO_ADDR(SI), AX
	MOVQ AX, ·sigAddr(SB)
	MOVQ UC_ERR(DX), AX
	MOVQ AX, ·sigError(SB)
	MOVQ UC_TRAPNO(DX), AX
	MOVQ AX, ·sigTrap(SB)
	ANDQ $~TRAP_FLAG, UC_EFLAGS(DX)
	MOVQ ·savedSP(SB), AX
	MOVQ AX, UC_RSP(DX)
	LEAQ ·landing(SB), AX
	MOVQ AX, UC_RIP(DX)
	RET

// restorer is rt_sigreturn.
TEXT ·restorer(SB), NOSPLIT|NOFRAME, $0
	MOVQ $15, AX
	SYSCALL
	INT  $3

// func spin(flag *uint64, sign uint64)
TEXT ·spin(SB), NOSPLIT, $0-16
	MOVQ flag+0(FP), DI
	MOVQ sign+8(FP), R12
	MOVQ $1, AX
	MOVQ AX, (DI)

again:
	PAUSE
	MOVQ (DI), AX
	TESTQ AX, AX
	JNE  again
	RET

// func handlerPC() uintptr
TEXT ·handlerPC(SB), NOSPLIT, $0-8
	LEAQ ·handler(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// func restorerPC() uintptr
TEXT ·restorerPC(SB), NOSPLIT, $0-8
	LEAQ ·restorer(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// func setPKRU(value uint32)
TEXT ·setPKRU(SB), NOSPLIT, $0-4
	MOVL value+0(FP), AX
	XORL CX, CX
	XORL DX, DX
	BYTE $0x0f; BYTE $0x01; BYTE $0xef // WRPKRU
	RET

#define SYS_PAUSE 34
#define SYS_CLONE 56
// CLONE_VM, CLONE_FS, CLONE_FILES, CLONE_SIGHAND, CLONE_THREAD, CLONE_SYSVSEM
#define THREAD_FLAGS 0x50f00

// func thread() int
TEXT ·thread(SB), NOSPLIT, $0-8
	MOVQ $SYS_CLONE, AX
	MOVQ $THREAD_FLAGS, DI
	XORL SI, SI
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	SYSCALL
	TESTQ AX, AX
	JEQ  sleep
	MOVQ AX, ret+0(FP)
	RET

	// The new thread has its parent's stack pointer, so it must not touch the stack.
sleep:
	MOVQ $SYS_PAUSE, AX
	SYSCALL
	JMP  sleep
