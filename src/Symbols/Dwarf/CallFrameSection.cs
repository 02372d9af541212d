namespace KTrace.Symbols.Dwarf;

/// <summary>What differs between .debug_frame (DWARF 5, section 6.4.1) and .eh_frame (LSB core, "Exception Frames").</summary>
internal readonly record struct CallFrameSection(bool IsEhFrame)
{
    /// <summary>The id that marks a CIE.</summary>
    public ulong CieId(bool is64) => IsEhFrame ? 0 : is64 ? ulong.MaxValue : uint.MaxValue;

    /// <summary>
    /// Offset of the CIE that an FDE's pointer names: in .debug_frame from the section's start, in .eh_frame back from the pointer
    /// itself. -1 when it lies outside.
    /// </summary>
    public int CieOffset(ulong pointer, int fieldOffset, int sectionLength)
    {
        if (IsEhFrame)
        {
            return pointer <= (ulong)fieldOffset ? fieldOffset - (int)pointer : -1;
        }

        return pointer < (ulong)sectionLength ? (int)pointer : -1;
    }

    /// <summary>Reads an initial length (DWARF 5, section 7.4): where the entry ends, and whether it is of the 64-bit format.</summary>
    public static (int End, bool Is64) ReadLength(ref ByteReader reader)
    {
        ulong length = reader.ReadU32();
        var is64 = length == uint.MaxValue;
        if (is64)
        {
            length = reader.ReadU64();
        }
        else if (length >= 0xfffffff0)
        {
            throw reader.Malformed("a reserved initial length");
        }

        return length <= (ulong)reader.Remaining
            ? (reader.Position + (int)length, is64)
            : throw reader.Malformed($"an entry of 0x{length:x} bytes, beyond the section");
    }
}
