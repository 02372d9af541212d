// Leaving a breakpoint costs a stub one more stop, except where its instruction does nothing: then the pc is moved past it. Every function that the
// kernel's tracer can trace begins with five such bytes (arch/x86/include/asm/nops.h: 5-byte P6 nop; i386 kernels use 3e 8d 74 26 00),
// with indirect-branch tracking after an endbr64. The bytes are those in memory at this very hit: a tracer that has been switched on has made a call of them.
using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Recording;

internal static class NopSkip
{
    /// <summary>CR4.CET: with it, endbr64 is no no-operation (Intel SDM volume 1, chapter 18).</summary>
    private const ulong Cr4Cet = 1UL << 23;

    /// <summary>Bytes of the instruction at the pc when it does nothing; 0 when it does something or is not known.</summary>
    public static int LengthAt(ReadOnlySpan<byte> code, RegisterSet registers)
    {
        if (registers.Architecture is X86_64)
        {
            if (code.StartsWith((ReadOnlySpan<byte>)[0x0f, 0x1f, 0x44, 0x00, 0x00]))
            {
                return 5;
            }

            var cetIsOff = registers.IsKnown(X86_64.Cr4) && (registers[X86_64.Cr4] & Cr4Cet) == 0;
            return cetIsOff && code.StartsWith((ReadOnlySpan<byte>)[0xf3, 0x0f, 0x1e, 0xfa]) ? 4 : 0;
        }

        return code.StartsWith((ReadOnlySpan<byte>)[0x3e, 0x8d, 0x74, 0x26, 0x00]) || code.StartsWith((ReadOnlySpan<byte>)[0x0f, 0x1f, 0x44, 0x00, 0x00]) ? 5 : 0;
    }
}
