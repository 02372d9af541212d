using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Dwarf;

/// <summary>A common information entry (DWARF 5, section 6.4.1; augmentations: LSB core, "Exception Frames").</summary>
internal sealed class Cie
{
    /// <summary>Offset of the entry's length field in the section.</summary>
    public required int Offset { get; init; }

    public required int AddressSize { get; init; }

    public required int SegmentSelectorSize { get; init; }

    public required ulong CodeAlignment { get; init; }

    public required long DataAlignment { get; init; }

    public required int ReturnAddressRegister { get; init; }

    /// <summary>Augmentation 'z': FDEs carry augmentation data with a length.</summary>
    public required bool HasAugmentationLength { get; init; }

    /// <summary>Augmentation 'R': DW_EH_PE_ encoding of addresses in FDEs; 0 (absolute) without.</summary>
    public required byte AddressEncoding { get; init; }

    /// <summary>Augmentation 'S': the frame is a signal's; the pc is not a return address.</summary>
    public required bool IsSignal { get; init; }

    public required int InstructionsStart { get; init; }

    public required int InstructionsEnd { get; init; }

    public static Cie Read(SectionData section, CallFrameSection kind, int offset, int fileAddressSize)
    {
        var r = section.ReaderAt(offset);
        var (end, is64) = CallFrameSection.ReadLength(ref r);
        var id = is64 ? r.ReadU64() : r.ReadU32();
        if (id != kind.CieId(is64))
        {
            throw section.Malformed(offset, "an FDE whose CIE pointer leads to no CIE");
        }

        var version = r.ReadU8();
        if (version is not (1 or 3 or 4))
        {
            throw section.Malformed(offset, $"a CIE of version {version}");
        }

        var augmentation = r.ReadStringBytes();
        int addressSize = fileAddressSize, segmentSize = 0;
        if (version == 4)
        {
            addressSize = r.ReadU8();
            segmentSize = r.ReadU8();
            if (addressSize is not (4 or 8) || segmentSize is not (0 or 2 or 4 or 8))
            {
                throw section.Malformed(offset, $"a CIE with {addressSize}-byte addresses and {segmentSize}-byte segments");
            }
        }

        if (augmentation.SequenceEqual("eh"u8))
        {
            r.ReadAddress(addressSize); // gcc 2's exception table
        }

        var codeAlignment = r.ReadUleb128();
        var dataAlignment = r.ReadSleb128();
        var returnRegister = version == 1 ? r.ReadU8() : r.ReadUleb128();
        byte encoding = 0;
        var signal = false;
        var hasLength = augmentation is [(byte)'z', ..];
        if (hasLength)
        {
            var length = r.ReadUleb128();
            var next = (ulong)r.Position + length;
            if (next > (ulong)end)
            {
                throw section.Malformed(r.Position, "augmentation bytes beyond their CIE");
            }

            foreach (var letter in augmentation[1..])
            {
                switch (letter)
                {
                    case (byte)'R':
                        encoding = r.ReadU8();
                        continue;
                    case (byte)'S':
                        signal = true;
                        continue;
                    case (byte)'L':
                        r.ReadU8();
                        continue;
                    case (byte)'P':
                        PointerEncoding.Skip(ref r, r.ReadU8(), addressSize);
                        continue;
                    case (byte)'B': // AArch64's pointer authentication key: no bytes
                        continue;
                }

                // Unknown letters may carry bytes of unknown size; 'z' tells where they end.
                break;
            }

            r.Position = (int)next;
        }
        else if (augmentation.Length != 0 && !augmentation.SequenceEqual("eh"u8))
        {
            throw section.Malformed(offset, "a CIE with an unknown augmentation");
        }

        if (r.Position > end || returnRegister > int.MaxValue)
        {
            throw section.Malformed(offset, "a CIE that is longer than its length");
        }

        return new Cie
        {
            Offset = offset,
            AddressSize = addressSize,
            SegmentSelectorSize = segmentSize,
            CodeAlignment = codeAlignment,
            DataAlignment = dataAlignment,
            ReturnAddressRegister = (int)returnRegister,
            HasAugmentationLength = hasLength,
            AddressEncoding = encoding,
            IsSignal = signal,
            InstructionsStart = r.Position,
            InstructionsEnd = end,
        };
    }
}
