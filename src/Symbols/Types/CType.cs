// The one type graph of KTrace: what BTF (Btf/BtfTypes) and DWARF (Dwarf/DwarfTypes) both become. C's types as ISO C 6.2.5 names them. Graphs have
// cycles (a list_head points to list_heads), so what a type refers to is looked up when first asked for, and nothing here walks deeper than it must.
using System.Collections.Immutable;

namespace KTrace.Symbols.Types;

/// <summary>A C type. Immutable and thread-safe; two objects may describe the same type.</summary>
public abstract class CType
{
    // A chain of typedefs and qualifiers that is longer is a hostile file's.
    private protected const int MaximumChain = 64;

    private string? _text;

    private protected CType()
    {
    }

    /// <summary>The tag, the typedef's name or the base type's name; empty for what has none (pointers, arrays, anonymous structures).</summary>
    public virtual string Name => "";

    /// <summary>sizeof, in bytes; 0 for void, functions, incomplete structures and arrays without a bound.</summary>
    public abstract long Size { get; }

    /// <summary>The type behind typedefs and qualifiers.</summary>
    public CType Resolved
    {
        get
        {
            var type = this;
            for (var i = 0; i < MaximumChain; i++)
            {
                switch (type)
                {
                    case TypedefType typedef:
                        type = typedef.Target;
                        break;
                    case QualifiedType qualified:
                        type = qualified.Target;
                        break;
                    default:
                        return type;
                }
            }

            return VoidType.Instance;
        }
    }

    /// <summary>The declaration of something of this type, as C writes it: <c>int (*name)(int, void *)</c>; without a name the type alone.</summary>
    public string Declare(string name) => Declaration.Of(this, name);

    /// <summary>As in a cast: <c>struct irq_data *</c>.</summary>
    public override string ToString() => _text ??= Declare("");
}

public sealed class VoidType : CType
{
    private VoidType()
    {
    }

    public static VoidType Instance { get; } = new();

    public override string Name => "void";

    public override long Size => 0;
}

public enum IntegerEncoding
{
    Unsigned,
    Signed,
    Boolean,

    /// <summary>char, signed char and unsigned char: an array of them is most likely text. <c>u8</c> is a typedef of one, see <see cref="IntegerType.IsText"/>.</summary>
    SignedCharacter,
    UnsignedCharacter,
}

/// <param name="name"><c>long unsigned int</c>.</param>
/// <param name="size">Bytes.</param>
public sealed class IntegerType(string name, int size, IntegerEncoding encoding) : CType
{
    public override string Name => name;

    public override long Size => size;

    public IntegerEncoding Encoding => encoding;

    public bool IsSigned => encoding is IntegerEncoding.Signed or IntegerEncoding.SignedCharacter;

    /// <summary>Plain <c>char</c>: the kernel writes text so, and numbers as u8 and s8 (unsigned char and signed char).</summary>
    public bool IsText => name == "char";
}

public sealed class FloatType(string name, int size) : CType
{
    public override string Name => name;

    public override long Size => size;
}

/// <summary>A pointer.</summary>
public sealed class PointerType(Func<CType> target, int size) : CType
{
    private readonly Lazy<CType> _target = new(target, LazyThreadSafetyMode.PublicationOnly);

    public PointerType(CType target, int size)
        : this(() => target, size)
    {
    }

    public CType Target => _target.Value;

    public override long Size => size;
}

/// <summary>One dimension of an array; several are arrays of arrays.</summary>
/// <param name="count">Elements; null for a flexible array member and for what has no bound.</param>
public sealed class ArrayType(Func<CType> element, long? count) : CType
{
    private readonly Lazy<CType> _element = new(element, LazyThreadSafetyMode.PublicationOnly);

    public ArrayType(CType element, long? count)
        : this(() => element, count)
    {
    }

    public CType Element => _element.Value;

    public long? Count => count;

    /// <summary>Saturates: no real array comes near 2^62 bytes.</summary>
    public override long Size
    {
        get
        {
            // Dimension by dimension and not by recursion: an array that (through a typedef) is its own element must end too.
            const long Limit = 1L << 62;
            long size = 1;
            CType type = this;
            for (var i = 0; i < MaximumChain && type is ArrayType dimension; i++)
            {
                if (dimension.Count is null or <= 0)
                {
                    return 0;
                }

                size = size > Limit / dimension.Count.Value ? Limit : size * dimension.Count.Value;
                type = dimension.Element.Resolved;
            }

            var element = type is ArrayType ? 0 : type.Size;
            return element <= 0 ? 0 : size > Limit / element ? Limit : size * element;
        }
    }
}

public enum StructKind
{
    Struct,
    Union,

    /// <summary>C++ only; laid out like a structure.</summary>
    Class,
}

/// <summary>A structure or union.</summary>
public sealed class StructType : CType
{
    private readonly string _name;
    private readonly long _size;
    private readonly Lazy<ImmutableArray<Member>>? _members;
    private readonly Lazy<StructType?>? _definition;

    /// <param name="name">The tag; empty when it has none.</param>
    /// <param name="size">Bytes; 0 while incomplete.</param>
    /// <param name="isIncomplete">Only declared: its members are not known in this object file.</param>
    public StructType(StructKind kind, string name, long size, bool isIncomplete, Func<ImmutableArray<Member>> members)
    {
        Kind = kind;
        _name = name;
        _size = size;
        _members = isIncomplete ? null : new Lazy<ImmutableArray<Member>>(members, LazyThreadSafetyMode.ExecutionAndPublication);
    }

    /// <summary>A structure that is only declared here and may be complete elsewhere: that is looked up when somebody asks for its size or its members.</summary>
    /// <param name="definition">The complete one, or null.</param>
    public StructType(StructKind kind, string name, Func<StructType?> definition)
    {
        Kind = kind;
        _name = name;
        _definition = new Lazy<StructType?>(definition, LazyThreadSafetyMode.ExecutionAndPublication);
    }

    public StructKind Kind { get; }

    public override string Name => _name;

    public override long Size => _definition is null ? _size : Definition?._size ?? 0;

    public bool IsIncomplete => _definition is null ? _members is null : Definition is null;

    /// <summary>In order of declaration.</summary>
    public ImmutableArray<Member> Members => (_definition is null ? _members : Definition?._members)?.Value ?? [];

    // A definition that is itself a declaration would be no answer.
    private StructType? Definition => _definition?.Value is { _members: not null } complete ? complete : null;
}

/// <summary>A member of a structure or union.</summary>
/// <param name="Name">Empty for an anonymous structure or union, and for a bit field that only pads.</param>
/// <param name="BitOffset">From the structure's start, in bits; of a bit field its lowest bit (little-endian).</param>
/// <param name="BitSize">Bits of a bit field; 0 for everything else.</param>
public sealed record Member(string Name, CType Type, long BitOffset, int BitSize)
{
    public bool IsBitField => BitSize != 0;

    /// <summary>Bytes from the structure's start; of a bit field the byte that holds its lowest bit.</summary>
    public long Offset => BitOffset / 8;
}

/// <param name="name">The tag; empty when it has none.</param>
public sealed class EnumType(string name, int size, bool isSigned, Func<ImmutableArray<Enumerator>> enumerators) : CType
{
    private readonly Lazy<ImmutableArray<Enumerator>> _enumerators = new(enumerators, LazyThreadSafetyMode.ExecutionAndPublication);

    public override string Name => name;

    public override long Size => size;

    public bool IsSigned => isSigned;

    public ImmutableArray<Enumerator> Enumerators => _enumerators.Value;
}

/// <param name="Value">Sign-extended to 64 bits when the enumeration is signed.</param>
public readonly record struct Enumerator(string Name, long Value);

public sealed class TypedefType(string name, Func<CType> target) : CType
{
    private readonly Lazy<CType> _target = new(target, LazyThreadSafetyMode.PublicationOnly);

    public TypedefType(string name, CType target)
        : this(name, () => target)
    {
    }

    public override string Name => name;

    public CType Target => _target.Value;

    public override long Size => Resolved.Size;
}

public enum TypeQualifier
{
    Const,
    Volatile,
    Restrict,
    Atomic,
}

public sealed class QualifiedType(TypeQualifier qualifier, Func<CType> target) : CType
{
    private readonly Lazy<CType> _target = new(target, LazyThreadSafetyMode.PublicationOnly);

    public QualifiedType(TypeQualifier qualifier, CType target)
        : this(qualifier, () => target)
    {
    }

    public TypeQualifier Qualifier => qualifier;

    public CType Target => _target.Value;

    public override long Size => Resolved.Size;
}

/// <summary>A function's type: what a function pointer points to.</summary>
/// <param name="isVariadic">The list ends with <c>...</c>.</param>
public sealed class FunctionType(Func<CType> returns, Func<ImmutableArray<Parameter>> parameters, bool isVariadic) : CType
{
    private readonly Lazy<CType> _returns = new(returns, LazyThreadSafetyMode.PublicationOnly);
    private readonly Lazy<ImmutableArray<Parameter>> _parameters = new(parameters, LazyThreadSafetyMode.ExecutionAndPublication);

    public CType Returns => _returns.Value;

    public ImmutableArray<Parameter> Parameters => _parameters.Value;

    public bool IsVariadic => isVariadic;

    public override long Size => 0;
}

/// <param name="Name">Empty in a function pointer's type.</param>
public sealed record Parameter(string Name, CType Type);
