using System.Buffers.Binary;

namespace KTrace.Symbols.Orc;

/// <summary>ORC_TYPE_ of format 3, to which older entries are upgraded.</summary>
public enum OrcType : byte
{
    Undefined = 0,
    EndOfStack = 1,
    Call = 2,
    Registers = 3,
    RegistersPartial = 4,
}

/// <summary>ORC_REG_: base registers.</summary>
public enum OrcRegister : byte
{
    Undefined = 0,
    PreviousSp = 1,
    Dx = 2,
    Di = 3,
    Bp = 4,
    Sp = 5,
    R10 = 6,
    R13 = 7,
    BpIndirect = 8,
    SpIndirect = 9,
}

/// <summary>One struct orc_entry, in the meaning of format 3.</summary>
/// <param name="SpOffset">Bytes.</param>
/// <param name="BpOffset">Bytes.</param>
public readonly record struct OrcEntry(short SpOffset, short BpOffset, OrcRegister SpRegister, OrcRegister BpRegister, OrcType Type, bool IsSignal)
{
    /// <summary>sizeof(struct orc_entry), packed.</summary>
    public const int Size = 6;

    /// <summary>Reads one entry and upgrades it.</summary>
    public static OrcEntry Read(ReadOnlySpan<byte> bytes, OrcFormat format)
    {
        var flags = BinaryPrimitives.ReadUInt16LittleEndian(bytes[4..]);
        var sp = (OrcRegister)(flags & 0xf);
        OrcType type;
        bool signal;
        switch (format.Version)
        {
            case 1:
                type = Upgrade(sp, (flags >> 8) & 3, (flags & 0x400) != 0);
                // There was no flag: every pt_regs was an interruption.
                signal = type is OrcType.Registers or OrcType.RegistersPartial;
                break;
            case 2:
                type = Upgrade(sp, (flags >> 8) & 3, (flags & 0x800) != 0);
                signal = (flags & 0x400) != 0;
                break;
            default:
                type = (OrcType)((flags >> 8) & 7);
                signal = (flags & 0x800) != 0;
                break;
        }

        return new OrcEntry(
            BinaryPrimitives.ReadInt16LittleEndian(bytes),
            BinaryPrimitives.ReadInt16LittleEndian(bytes[2..]),
            sp,
            (OrcRegister)((flags >> 4) & 0xf),
            type,
            signal);
    }

    private static OrcType Upgrade(OrcRegister sp, int type, bool end) =>
        sp == OrcRegister.Undefined ? (end ? OrcType.EndOfStack : OrcType.Undefined) : (OrcType)(type + 2);
}
