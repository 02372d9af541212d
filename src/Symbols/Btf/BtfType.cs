namespace KTrace.Symbols.Btf;

/// <summary>One member of a structure or union.</summary>
/// <param name="BitOffset">From the structure's start.</param>
/// <param name="BitSize">Of a bit field; 0 otherwise.</param>
public readonly record struct BtfMember(int NameOffset, int TypeId, int BitOffset, int BitSize);

/// <summary>One type, as struct btf_type has it. The default value is void.</summary>
public readonly struct BtfType
{
    private readonly BtfFile? _file;
    private readonly uint _description;
    private readonly uint _sizeOrType;
    private readonly int _trailer;

    internal BtfType(BtfFile file, int id, BtfKind kind, int nameOffset, uint description, uint sizeOrType, int trailer)
    {
        _file = file;
        Id = id;
        Kind = kind;
        NameOffset = nameOffset;
        _description = description;
        _sizeOrType = sizeOrType;
        _trailer = trailer;
    }

    public int Id { get; }

    public BtfKind Kind { get; }

    public int NameOffset { get; }

    public string Name => _file is null || NameOffset == 0 ? "" : _file.StringAt(NameOffset);

    /// <summary>Members, enumerators, parameters or variables, by kind.</summary>
    public int Count => (int)(_description & 0xffff);

    /// <summary>Struct, union: offsets carry bit-field sizes. Forward: it is a union. Enum: signed.</summary>
    public bool Flag => _description >> 31 != 0;

    /// <summary>Bytes: of kinds that have a size of their own (int, float, struct, union, enum, data section).</summary>
    public int OwnSize => (int)Math.Min(_sizeOrType, int.MaxValue);

    /// <summary>The type that a pointer, typedef, qualifier, tag, function or variable refers to.</summary>
    public int ReferredId => (int)Math.Min(_sizeOrType, int.MaxValue);

    public bool IsComposite => Kind is BtfKind.Struct or BtfKind.Union;

    /// <summary>Of an array: its element's type and their number.</summary>
    public (int ElementId, uint Count) Array => Kind == BtfKind.Array
        ? ((int)Math.Min(_file!.ReadU32(_trailer), int.MaxValue), _file.ReadU32(_trailer + 8))
        : throw new InvalidOperationException("not an array");

    /// <summary>Of an int: bits of the value, and the bit of the storage where they start (BTF_INT_BITS, BTF_INT_OFFSET).</summary>
    public (int Bits, int BitOffset, bool IsSigned) Integer
    {
        get
        {
            var encoding = _file!.ReadU32(_trailer);
            return ((int)(encoding & 0xff), (int)((encoding >> 16) & 0xff), (encoding & 0x0100_0000) != 0);
        }
    }

    /// <summary>Member number <paramref name="index"/> of a structure or union.</summary>
    public BtfMember Member(int index)
    {
        var at = _trailer + (12 * index);
        var offset = _file!.ReadU32(at + 8);
        return new BtfMember(
            (int)_file.ReadU32(at),
            (int)Math.Min(_file.ReadU32(at + 4), int.MaxValue),
            (int)(Flag ? offset & 0xffffff : Math.Min(offset, int.MaxValue)),
            Flag ? (int)(offset >> 24) : 0);
    }

    /// <summary>Of an int: BTF_INT_CHAR and BTF_INT_BOOL.</summary>
    internal (bool IsCharacter, bool IsBoolean) IntegerFlags => _file!.ReadU32(_trailer) is var encoding
        ? ((encoding & 0x0200_0000) != 0, (encoding & 0x0400_0000) != 0)
        : default;

    /// <summary>Enumerator number <paramref name="index"/>; its value as it stands, 32 bits unsigned or 64.</summary>
    internal (int NameOffset, ulong Value) Enumerator(int index)
    {
        if (Kind == BtfKind.Enum64)
        {
            var at = _trailer + (12 * index);
            return ((int)_file!.ReadU32(at), _file.ReadU32(at + 4) | ((ulong)_file.ReadU32(at + 8) << 32));
        }

        return ((int)_file!.ReadU32(_trailer + (8 * index)), _file.ReadU32(_trailer + (8 * index) + 4));
    }

    /// <summary>Parameter number <paramref name="index"/> of a prototype; without name and type it is the ellipsis.</summary>
    internal (int NameOffset, int TypeId) Parameter(int index) =>
        ((int)_file!.ReadU32(_trailer + (8 * index)), (int)Math.Min(_file.ReadU32(_trailer + (8 * index) + 4), int.MaxValue));
}
