// struct pt_regs, arch/x86/include/asm/ptrace.h. The same since 2.6.25 on both architectures; what changed is the upper half
// of segment slots (i386: flags of the entry code since 4.18; x86-64: FRED's event since 6.9), so only 16 bits of those count.
using System.Collections.Immutable;

namespace KTrace.Symbols.Arch;

/// <summary>Layout of struct pt_regs. Offsets and sizes in bytes.</summary>
/// <param name="InterruptFrame">Offset of what the processor itself pushes: ip, cs, flags, sp, ss, one word each.</param>
/// <param name="SystemCallNumber">Offset of orig_ax.</param>
/// <param name="Slots">One word for each register.</param>
public sealed record PtRegsLayout(int Size, int InterruptFrame, int SystemCallNumber, ImmutableArray<PtRegsSlot> Slots);

/// <param name="Register">Index in <see cref="Architecture.RegisterNames"/>.</param>
/// <param name="IsSegment">Only the low 16 bits of the word are the register.</param>
public readonly record struct PtRegsSlot(int Register, int Offset, bool IsSegment = false);
