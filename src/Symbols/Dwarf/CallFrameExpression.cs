// DWARF expressions (DWARF 5, sections 2.5 and 6.4.2) as far as call frame instructions may use them: arithmetic, stack,
// control flow, registers and memory. Location operators, calls into other DIEs and typed values do not occur in CFI and
// make the expression unusable, as does anything malformed: the caller then has no value for that register.
// In kernels functions that realign their stack have them (CFA = [rbp - 40]: about 1 % of the code of Debian's 6.1), in user space PLT entries and signal frames.
using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Dwarf;

/// <summary>How an evaluation ended.</summary>
public enum ExpressionOutcome
{
    Value,

    /// <summary>Malformed, unsupported, too long, or it needs a register that is not known.</summary>
    Unusable,

    /// <summary>Memory was not fetched; <c>address</c> says where.</summary>
    NotFetched,

    /// <summary>The target has no memory at <c>address</c>.</summary>
    Unreadable,
}

/// <summary>The bytes of one expression in a CFI section.</summary>
public sealed class CallFrameExpression
{
    private const int MaximumSteps = 1000;
    private const int MaximumDepth = 64;

    private readonly SectionData _section;
    private readonly int _start;
    private readonly int _length;
    private readonly int _addressSize;

    internal CallFrameExpression(SectionData section, int start, int length, int addressSize)
    {
        _section = section;
        _start = start;
        _length = length;
        _addressSize = addressSize;
    }

    /// <summary>Whether it is no more than a register plus a number, or the word there: what compilers write for stacks that they realign.</summary>
    public bool IsRegisterPlus(out int register, out long offset, out bool isDereferenced)
    {
        const byte firstRegister = 0x70, lastRegister = 0x8f, dereference = 0x06;
        (register, offset, isDereferenced) = (0, 0, false);
        try
        {
            var reader = _section.ReaderAt(_start);
            var operation = reader.ReadU8();
            if (operation is < firstRegister or > lastRegister)
            {
                return false;
            }

            register = operation - firstRegister;
            offset = reader.ReadSleb128();
            isDereferenced = reader.Position < _start + _length;
            return reader.Position + (isDereferenced ? 1 : 0) == _start + _length && (!isDereferenced || reader.ReadU8() == dereference);
        }
        catch (MalformedFileException)
        {
            return false;
        }
    }

    /// <summary>Evaluates it for one frame. <paramref name="initial"/> (the CFA, for register rules) is pushed first when present.</summary>
    /// <param name="value">The result, or the address of the failed read.</param>
    public ExpressionOutcome Evaluate(RegisterSet registers, IMemoryReader memory, ulong? initial, out ulong value)
    {
        try
        {
            return Run(registers, memory, initial, out value);
        }
        catch (MalformedFileException)
        {
            value = 0;
            return ExpressionOutcome.Unusable;
        }
    }

    private ExpressionOutcome Run(RegisterSet registers, IMemoryReader memory, ulong? initial, out ulong value)
    {
        Span<ulong> stack = stackalloc ulong[MaximumDepth];
        var depth = 0;
        value = 0;
        if (initial is { } first)
        {
            stack[depth++] = first;
        }

        var reader = _section.ReaderAt(_start);
        var end = _start + _length;
        for (var step = 0; reader.Position < end; step++)
        {
            if (step == MaximumSteps || depth >= MaximumDepth - 1)
            {
                return ExpressionOutcome.Unusable;
            }

            var op = reader.ReadU8();
            switch (op)
            {
                case 0x03: stack[depth++] = reader.ReadAddress(_addressSize); continue; // DW_OP_addr
                case 0x08: stack[depth++] = reader.ReadU8(); continue;
                case 0x09: stack[depth++] = (ulong)(sbyte)reader.ReadU8(); continue;
                case 0x0a: stack[depth++] = reader.ReadU16(); continue;
                case 0x0b: stack[depth++] = (ulong)(short)reader.ReadU16(); continue;
                case 0x0c: stack[depth++] = reader.ReadU32(); continue;
                case 0x0d: stack[depth++] = (ulong)(int)reader.ReadU32(); continue;
                case 0x0e or 0x0f: stack[depth++] = reader.ReadU64(); continue;
                case 0x10: stack[depth++] = reader.ReadUleb128(); continue;
                case 0x11: stack[depth++] = (ulong)reader.ReadSleb128(); continue;
                case >= 0x30 and <= 0x4f: stack[depth++] = (ulong)(op - 0x30); continue; // DW_OP_litN
                case >= 0x70 and <= 0x8f or 0x92: // DW_OP_bregN, DW_OP_bregx
                    var register = op == 0x92 ? reader.ReadUleb128() : (ulong)(op - 0x70);
                    var offset = reader.ReadSleb128();
                    if (register >= (ulong)registers.Architecture.DwarfRegisterCount || !registers.IsKnown((int)register))
                    {
                        return ExpressionOutcome.Unusable;
                    }

                    stack[depth++] = Truncate(registers[(int)register] + (ulong)offset);
                    continue;
                case 0x2f: // DW_OP_skip
                    reader.Position = Target(ref reader, end);
                    continue;
                case 0x96: continue; // DW_OP_nop
            }

            // Everything below needs operands on the stack.
            if (depth == 0)
            {
                return ExpressionOutcome.Unusable;
            }

            ref var top = ref stack[depth - 1];
            switch (op)
            {
                case 0x06 or 0x94: // DW_OP_deref, DW_OP_deref_size
                    var size = op == 0x06 ? _addressSize : reader.ReadU8();
                    if (size is 0 or > 8)
                    {
                        return ExpressionOutcome.Unusable;
                    }

                    var address = top;
                    top = 0;
                    var result = memory.Read(address, System.Runtime.InteropServices.MemoryMarshal.AsBytes(stack.Slice(depth - 1, 1))[..size]);
                    if (result != MemoryReadResult.Ok)
                    {
                        value = address;
                        return result == MemoryReadResult.NotFetched ? ExpressionOutcome.NotFetched : ExpressionOutcome.Unreadable;
                    }

                    continue;
                case 0x12: stack[depth] = top; depth++; continue; // DW_OP_dup
                case 0x13: depth--; continue; // DW_OP_drop
                case 0x15: // DW_OP_pick
                    var index = reader.ReadU8();
                    if (index >= depth)
                    {
                        return ExpressionOutcome.Unusable;
                    }

                    stack[depth] = stack[depth - 1 - index];
                    depth++;
                    continue;
                case 0x19: // DW_OP_abs
                    var signedTop = (long)Extend(top, true);
                    top = signedTop < 0 ? Truncate(0 - (ulong)signedTop) : top;
                    continue;
                case 0x1f: top = Truncate(0 - top); continue; // DW_OP_neg
                case 0x20: top = Truncate(~top); continue; // DW_OP_not
                case 0x23: top = Truncate(top + reader.ReadUleb128()); continue; // DW_OP_plus_uconst
                case 0x28: // DW_OP_bra
                    var target = Target(ref reader, end);
                    depth--;
                    if (stack[depth] != 0)
                    {
                        reader.Position = target;
                    }

                    continue;
            }

            if (depth < 2)
            {
                return ExpressionOutcome.Unusable;
            }

            ref var second = ref stack[depth - 2];
            switch (op)
            {
                case 0x14: stack[depth] = second; depth++; continue; // DW_OP_over
                case 0x16: (top, second) = (second, top); continue; // DW_OP_swap
                case 0x17: // DW_OP_rot
                    if (depth < 3)
                    {
                        return ExpressionOutcome.Unusable;
                    }

                    (stack[depth - 1], stack[depth - 2], stack[depth - 3]) = (stack[depth - 2], stack[depth - 3], stack[depth - 1]);
                    continue;
            }

            var signed = op is 0x1b or 0x26 or (>= 0x2a and <= 0x2d);
            if (!Binary(op, Extend(second, signed), Extend(top, signed), out var combined))
            {
                return ExpressionOutcome.Unusable;
            }

            second = Truncate(combined);
            depth--;
        }

        if (depth == 0)
        {
            return ExpressionOutcome.Unusable;
        }

        value = Truncate(stack[depth - 1]);
        return ExpressionOutcome.Value;
    }

    private static bool Binary(byte op, ulong a, ulong b, out ulong result)
    {
        result = op switch
        {
            0x1a => a & b,
            0x1b when b != 0 && !((long)a == long.MinValue && (long)b == -1) => (ulong)((long)a / (long)b),
            0x1c => a - b,
            0x1d when b != 0 => a % b,
            0x1e => a * b,
            0x21 => a | b,
            0x22 => a + b,
            0x24 => b > 63 ? 0 : a << (int)b,
            0x25 => b > 63 ? 0 : a >> (int)b,
            0x26 => (ulong)((long)a >> (int)Math.Min(b, 63)),
            0x27 => a ^ b,
            0x29 => a == b ? 1UL : 0,
            0x2a => (long)a >= (long)b ? 1UL : 0,
            0x2b => (long)a > (long)b ? 1UL : 0,
            0x2c => (long)a <= (long)b ? 1UL : 0,
            0x2d => (long)a < (long)b ? 1UL : 0,
            0x2e => a != b ? 1UL : 0,
            _ => 0,
        };
        return op is 0x1a or 0x1c or 0x1e or 0x21 or 0x22 or 0x24 or 0x25 or 0x26 or 0x27 or (>= 0x29 and <= 0x2e)
            || (op is 0x1b or 0x1d && b != 0);
    }

    private int Target(ref ByteReader reader, int end)
    {
        var distance = (short)reader.ReadU16();
        var target = reader.Position + distance;
        return target >= _start && target <= end ? target : throw reader.Malformed("a branch out of its expression");
    }

    private ulong Extend(ulong value, bool signed) => signed && _addressSize == 4 ? (ulong)(int)value : Truncate(value);

    private ulong Truncate(ulong value) => _addressSize == 4 ? (uint)value : value;
}
