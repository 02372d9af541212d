// Assembly may jump from one function into the middle of another (arch/x86/entry/entry_32.S: ret_from_fork into entry_INT80_32), which compiled code never does. Where that may
// be so, what the function's own code says of its middle is not all. No debug information tells. So the object's code is searched for whatever, read as a
// 4-byte displacement at any byte, leads into the middle; and what stands near is decoded, for jumps of one byte. That finds more than there is, which only costs answers.
// Not seen: an address in the middle that somebody computes, or has in a table; entry code does that only for the fixups of faulting instructions.
using System.Runtime.InteropServices;
using KTrace.Symbols.Disassembly;
using KTrace.Symbols.Elf;

namespace KTrace.Symbols.Recovery;

/// <summary>Finds jumps of other functions into the middle of one.</summary>
internal static class OutsideJumps
{
    // A jump of one byte reaches 127 bytes on, or 128 back.
    private const int ShortReach = 130;
    private const int LongestInstruction = 15;

    /// <summary>True when there may be a jump, or a label to jump to.</summary>
    public static bool MayLeadInto(CodeObject code, InstructionDecoder decoder, in ElfSymbol function)
    {
        var (first, end) = (function.Value + 1, function.Value + function.Size);
        return HasLabel(code, first, end) || IsPatchTarget(code, function.Value, first, end) || HasLongJump(code, function.Value, first, end)
            || HasShortJump(code, decoder, Behind(code, function.Value), function.Value, first, end)
            || HasShortJump(code, decoder, end, end + ShortReach, first, end);
    }

    private static bool HasLabel(CodeObject code, ulong first, ulong end)
    {
        for (var i = 1; i < code.Symbols.Count; i++)
        {
            if (code.Symbols.At(i) is var raw && raw.Value >= first && raw.Value < end && raw.Section != ElfSymbol.SectionUndefined && code.Symbols.IsCandidate(in raw))
            {
                return true;
            }
        }

        return false;
    }

    private static bool IsPatchTarget(CodeObject code, ulong start, ulong first, ulong end)
    {
        bool Enters(ulong from, ulong to) => to >= first && to < end && (from < start || from >= end);
        return code.Sites.JumpLabels.Any(label => Enters(label.Key, label.Value)) || code.Sites.Fixups.Any(fixup => Enters(fixup.Key, fixup.Value.Target));
    }

    private static bool HasLongJump(CodeObject code, ulong start, ulong first, ulong end)
    {
        var size = end - first;
        foreach (var (address, bytes) in code.Sections)
        {
            var span = bytes.Span;
            for (var i = 0; i + 4 <= span.Length; i++)
            {
                var target = address + (ulong)i + 4 + (ulong)MemoryMarshal.Read<int>(span[i..]);
                target = code.Architecture.WordSize == 4 ? (uint)target : target;
                if (target - first < size && address + (ulong)i - start >= end - start)
                {
                    return true;
                }
            }
        }

        return false;
    }

    /// <summary>Where decoding may begin so as to come by every instruction that stands close before an address; 0 when that is not known.</summary>
    private static ulong Behind(CodeObject code, ulong address)
    {
        var begin = address;
        while (address - begin < ShortReach && code.IsCode(begin - 1))
        {
            if (!code.Symbols.TryFindNearest(begin - 1, out ElfSymbol symbol) || symbol.Value >= begin)
            {
                return 0;
            }

            begin = symbol.Value;
        }

        return begin;
    }

    private static bool HasShortJump(CodeObject code, InstructionDecoder decoder, ulong from, ulong to, ulong first, ulong end)
    {
        for (var at = from; at < to;)
        {
            var bytes = code.CodeAt(at);
            if (bytes.IsEmpty)
            {
                // The section ends, or (at 0) nobody knows where to begin.
                return from == 0;
            }

            if (!decoder.TryDecode(bytes, at, out var instruction))
            {
                return true;
            }

            var opcode = bytes[..Math.Min((int)instruction.Length, LongestInstruction)].TrimStart([(byte)0x2e, (byte)0x3e, (byte)0xf2]);
            if (opcode.Length == 2 && opcode[0] is (>= 0x70 and <= 0x7f) or (>= 0xe0 and <= 0xe3) or 0xeb)
            {
                var target = instruction.End + (ulong)(sbyte)opcode[1];
                if (target >= first && target < end)
                {
                    return true;
                }
            }

            at = instruction.End;
        }

        return false;
    }
}
