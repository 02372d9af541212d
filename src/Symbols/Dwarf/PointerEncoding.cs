// DW_EH_PE_ pointer encodings (LSB core, "DWARF Extensions"). Only what compilers and linkers write for x86 FDEs is
// resolved: absolute and pc-relative. The others name bases (text, data, function) that only a run-time loader knows.
namespace KTrace.Symbols.Dwarf;

internal static class PointerEncoding
{
    public const byte Omit = 0xff;
    private const byte PcRelative = 0x10;
    private const byte Indirect = 0x80;

    /// <param name="fieldBase">Address of the section's first byte.</param>
    public static ulong Read(ref ByteReader reader, byte encoding, int addressSize, ulong fieldBase)
    {
        var field = fieldBase + (ulong)reader.Position;
        var value = ReadValue(ref reader, encoding, addressSize);
        value = (encoding & 0x70) switch
        {
            0 => value,
            PcRelative => value + field,
            var a => throw reader.Malformed($"a pointer relative to base 0x{a:x}, which is not known here"),
        };
        if ((encoding & Indirect) != 0)
        {
            throw reader.Malformed("an indirect code address");
        }

        return addressSize == 4 ? (uint)value : value;
    }

    public static void Skip(ref ByteReader reader, byte encoding, int addressSize)
    {
        if (encoding != Omit)
        {
            ReadValue(ref reader, encoding, addressSize);
        }
    }

    /// <summary>A size or count in the same format, without its base.</summary>
    public static ulong ReadValue(ref ByteReader reader, byte encoding, int addressSize) => (encoding & 0x0f) switch
    {
        0x00 => reader.ReadAddress(addressSize),
        0x01 => reader.ReadUleb128(),
        0x02 => reader.ReadU16(),
        0x03 => reader.ReadU32(),
        0x04 => reader.ReadU64(),
        0x08 => addressSize == 4 ? (ulong)(int)reader.ReadU32() : reader.ReadU64(),
        0x09 => (ulong)reader.ReadSleb128(),
        0x0a => (ulong)(short)reader.ReadU16(),
        0x0b => (ulong)(int)reader.ReadU32(),
        0x0c => reader.ReadU64(),
        var f => throw reader.Malformed($"a pointer of format 0x{f:x}"),
    };
}
