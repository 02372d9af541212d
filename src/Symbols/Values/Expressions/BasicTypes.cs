using KTrace.Symbols.Types;

namespace KTrace.Symbols.Values.Expressions;

/// <summary>The types that expressions make by themselves, with the names that gcc gives them in debug information.</summary>
internal sealed class BasicTypes
{
    private static readonly BasicTypes For32 = new(4);
    private static readonly BasicTypes For64 = new(8);

    private BasicTypes(int addressSize)
    {
        AddressSize = addressSize;
        Long = new IntegerType("long int", addressSize, IntegerEncoding.Signed);
        UnsignedLong = new IntegerType("long unsigned int", addressSize, IntegerEncoding.Unsigned);
        PointerDifference = addressSize == 4 ? Int : Long;
        SizeType = addressSize == 4 ? UnsignedInt : UnsignedLong;
    }

    public int AddressSize { get; }

    public IntegerType Char { get; } = new("char", 1, IntegerEncoding.SignedCharacter);

    public IntegerType Bool { get; } = new("_Bool", 1, IntegerEncoding.Boolean);

    public IntegerType Int { get; } = new("int", 4, IntegerEncoding.Signed);

    public IntegerType UnsignedInt { get; } = new("unsigned int", 4, IntegerEncoding.Unsigned);

    public IntegerType Long { get; }

    public IntegerType UnsignedLong { get; }

    public IntegerType LongLong { get; } = new("long long int", 8, IntegerEncoding.Signed);

    public IntegerType UnsignedLongLong { get; } = new("long long unsigned int", 8, IntegerEncoding.Unsigned);

    /// <summary>ptrdiff_t</summary>
    public IntegerType PointerDifference { get; }

    /// <summary>size_t</summary>
    public IntegerType SizeType { get; }

    public static BasicTypes Of(int addressSize) => addressSize == 4 ? For32 : For64;

    public PointerType PointerTo(CType target) => new(target, AddressSize);
}
