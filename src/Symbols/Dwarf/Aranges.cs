// .debug_aranges: DWARF 5, sections 6.1.2 and 7.21 (version 2 in all of DWARF). GCC and GAS write it, clang does not unless asked, so it tells
// where a unit's code is, but not that an address is in no unit.
namespace KTrace.Symbols.Dwarf;

/// <summary>Addresses of a unit.</summary>
internal struct UnitRange
{
    public ulong Low;
    public ulong High;

    /// <summary>The unit's header, bytes from the start of .debug_info.</summary>
    public int Unit;
}

internal static class Aranges
{
    /// <summary>
    /// Appends all tuples. A set that cannot be read is passed over, as its length leads to the next one; a length that leads outside ends the
    /// reading: the units that are missing then are found by their DIEs.
    /// </summary>
    public static void Read(SectionData section, int infoLength, GrowingArray<UnitRange> into)
    {
        var offset = 0;
        while (section.Length - offset >= 12)
        {
            var r = section.ReaderAt(offset);
            ulong length = r.ReadU32();
            var offsetSize = 4;
            if (length == 0xffffffff)
            {
                length = r.ReadU64();
                offsetSize = 8;
            }

            if (length > (ulong)r.Remaining || length < (ulong)(offsetSize + 4))
            {
                return;
            }

            var end = r.Position + (int)length;
            var version = r.ReadU16();
            var unit = r.ReadAddress(offsetSize);
            int addressSize = r.ReadU8();
            var segmentSize = r.ReadU8();
            if (version == 2 && addressSize is 4 or 8 && segmentSize == 0 && unit < (ulong)infoLength)
            {
                // Tuples are aligned to their own size, counted from the set's start.
                var tuple = 2 * addressSize;
                var position = offset + ((r.Position - offset + tuple - 1) / tuple * tuple);
                for (; position <= end - tuple; position += tuple)
                {
                    r.Position = position;
                    var low = r.ReadAddress(addressSize);
                    var size = r.ReadAddress(addressSize);
                    if ((low | size) == 0)
                    {
                        break;
                    }

                    if (size > 0 && low + size > low)
                    {
                        into.Add(new UnitRange { Low = low, High = low + size, Unit = (int)unit });
                    }
                }
            }

            offset = end;
        }
    }
}
