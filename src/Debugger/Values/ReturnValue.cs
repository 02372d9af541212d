// System V psABI for x86-64, section 3.2.3, "Returning of Values", and for i386, section 2.2.5: integers and pointers come back in rax (rdx with it for 16 bytes), eax (edx with
// it for 8). Structures of other sizes and floating-point numbers are left out: the kernel has next to none.
using System.Buffers.Binary;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;

namespace KTrace.Debugger.Values;

/// <summary>What a function has returned.</summary>
internal static class ReturnValue
{
    /// <param name="type">Null: void, or not known.</param>
    /// <param name="registers">At the instruction behind the call.</param>
    /// <returns>Null when it returns nothing, or nothing that is in registers.</returns>
    public static TypedValue? Of(CType? type, RegisterSet registers)
    {
        var (low, high) = registers.Architecture is X86_64 ? (X86_64.Rax, X86_64.Rdx) : (I386.Eax, I386.Edx);
        var word = registers.Architecture.WordSize;
        if (type is null || type.Resolved is FloatType || type.Size <= 0 || type.Size > 2 * word || !registers.IsKnown(low))
        {
            return null;
        }

        // i386 returns structures in memory, whatever their size (-freg-struct-return is not the kernel's).
        if (type.Resolved is StructType && word == 4)
        {
            return null;
        }

        var bytes = new byte[16];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, registers[low]);
        if (type.Size > word)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(word), registers[high]);
        }

        return new TypedValue { Type = type, Bytes = bytes.AsMemory(0, (int)type.Size), Provenance = Provenance.Register };
    }
}
