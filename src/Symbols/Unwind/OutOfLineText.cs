// Pieces of functions that stand in a section of their own. static_cpu_has() is an alternative (6.1: arch/x86/include/asm/cpufeature.h, _static_cpu_has):
// until the kernel patches its alternatives, it jumps to a piece in .altinstr_aux that asks the capability bits and jumps back to one of two places:
//
//     testb $bit, capability_byte     f6 05 disp32 imm8 (x86-64: rip-relative, i386: absolute) or f6 04 25 disp32 imm8
//     jne   t_yes                     0f 85 rel32
//     jmp   t_no                      e9 rel32
//
// Interrupts come before that patching too. No symbol, no CFI and no ORC covers the section, so the kernel's own unwinder gives up there. But a piece uses no
// stack: at each of its instructions the frame is as at t_no, whose names and rows therefore hold. Both jumps leave the section, so they are never short.
// A module's alternatives are patched before any of its code runs.
using System.Buffers.Binary;
using KTrace.Symbols.Elf;

namespace KTrace.Symbols.Unwind;

/// <summary>The kernel's <c>.altinstr_aux</c>. Immutable, thread-safe.</summary>
public sealed class OutOfLineText
{
    /// <summary>The section.</summary>
    public const string Section = ".altinstr_aux";

    private const int JumpIfLength = 6;
    private const int JumpLength = 5;

    private readonly ulong _start;
    private readonly SectionData _code;

    private OutOfLineText(ulong start, SectionData code)
    {
        _start = start;
        _code = code;
    }

    /// <summary>Null for a kernel without the section.</summary>
    public static OutOfLineText? TryOpen(ElfFile vmlinux) =>
        vmlinux.GetSection(Section) is { Length: > 0 } code ? new OutOfLineText(vmlinux.GetSectionAddress(Section), code) : null;

    /// <summary>Whether an instruction of a piece starts there, and where in its function the piece goes back to.</summary>
    /// <param name="address">As linked, as is the answer.</param>
    public bool TryFindFunction(ulong address, out ulong original)
    {
        original = 0;
        if (address < _start || address - _start >= (ulong)_code.Length)
        {
            return false;
        }

        var code = _code.Span[(int)(address - _start)..];
        var length = code switch
        {
            [0xf6, 0x05, ..] => 7,
            [0xf6, 0x04, 0x25, ..] => 8,
            _ => 0,
        };
        length += code[Math.Min(length, code.Length)..] is [0x0f, 0x85, ..] ? JumpIfLength : 0;
        var jump = code[Math.Min(length, code.Length)..];
        if (jump is not [0xe9, ..] || jump.Length < JumpLength)
        {
            return false;
        }

        original = address + (ulong)(length + JumpLength) + (ulong)(long)BinaryPrimitives.ReadInt32LittleEndian(jump[1..]);
        return true;
    }
}
