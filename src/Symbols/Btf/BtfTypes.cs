// The type graph out of BTF (Documentation/bpf/btf.rst, kinds up to BTF_KIND_ENUM64). Differences between producers: pahole before 1.24 writes no signedness of
// enumerations (kind_flag) and before 1.13 no bit-field sizes, but integer types of odd widths. Declaration tags mark, type tags qualify: neither has a layout.
using System.Collections.Immutable;
using System.Text;
using KTrace.Symbols.Types;

namespace KTrace.Symbols.Btf;

/// <summary>
/// Type id → type, and names → types, of one .BTF section; a module's own over the kernel's. Thread-safe. Damage costs the type that has it: it becomes void, or a
/// structure without members. No getter of a type throws.
/// </summary>
public sealed class BtfTypes
{
    // A chain of tags and qualifiers that is longer is a hostile file's.
    private const int MaximumChain = 64;

    private readonly BtfFile _file;
    private readonly BtfTypes? _base;
    private readonly CType?[] _types;

    /// <param name="file">The types.</param>
    /// <param name="base">The graph of the file's base, for a module; made anew when it is not given.</param>
    public BtfTypes(BtfFile file, BtfTypes? @base = null)
    {
        _file = file;
        _base = file.Base is null ? null : @base ?? new BtfTypes(file.Base);
        _types = new CType?[file.EndId - file.FirstId];
        AddressSize = _base?.AddressSize ?? FindPointerSize();
    }

    /// <summary>Bytes of a pointer: BTF does not say, so the size of a long does (as libbpf has it).</summary>
    public int AddressSize { get; }

    internal BtfFile File => _file;

    /// <summary>The type of an id; 0 is void. Of a function its prototype, of a variable its type. Void for an id that does not exist.</summary>
    public CType TypeOf(int id)
    {
        if (id <= 0 || id >= _file.EndId)
        {
            return VoidType.Instance;
        }

        if (id < _file.FirstId)
        {
            return _base?.TypeOf(id) ?? VoidType.Instance;
        }

        // Two threads may both make it; either will do.
        return _types[id - _file.FirstId] ??= Build(id);
    }

    /// <summary>The type of that name, complete where there is a complete one; null when there is none.</summary>
    public CType? FindType(TypeTag tag, string name)
    {
        if (tag != TypeTag.Ordinary)
        {
            return FindTagged(tag, name);
        }

        foreach (var spelling in BaseTypeNames.Spellings(name) is { Count: > 0 } spellings ? spellings : [name])
        {
            if (TryFind(spelling, static k => k is BtfKind.Typedef or BtfKind.Int or BtfKind.Float, out var found))
            {
                return TypeOf(found.Id);
            }
        }

        return null;
    }

    /// <summary>The function's type, with its parameters' names; null when BTF has none of that name (static functions that were inlined or changed are left out).</summary>
    public FunctionType? FindFunction(string name) =>
        TryFind(name, static k => k == BtfKind.Function, out var function) ? TypeOf(function.Id) as FunctionType : null;

    /// <summary>The type of a variable: BTF has the per-cpu ones.</summary>
    public CType? FindVariable(string name) => TryFind(name, static k => k == BtfKind.Variable, out var variable) ? TypeOf(variable.Id) : null;

    /// <summary>An enumerator of any enumeration.</summary>
    public (EnumType Type, long Value)? FindEnumerator(string name)
    {
        var wanted = Encoding.UTF8.GetBytes(name);
        for (var id = _file.FirstId; id < _file.EndId; id++)
        {
            if (_file.KindOf(id) is not (BtfKind.Enum or BtfKind.Enum64))
            {
                continue;
            }

            var type = _file.TypeOf(id);
            for (var i = 0; i < type.Count; i++)
            {
                if (type.Enumerator(i) is var (nameOffset, value) && _file.StringIs(nameOffset, wanted) && TypeOf(id) is EnumType enumeration)
                {
                    return (enumeration, ValueOf(type, value, enumeration.IsSigned));
                }
            }
        }

        return _base?.FindEnumerator(name);
    }

    /// <summary>Adds the names of structures, unions, enumerations and typedefs that are like a misspelt one.</summary>
    internal void Suggest(NearTypeNames near)
    {
        for (var id = _file.FirstId; id < _file.EndId; id++)
        {
            TypeTag? tag = _file.KindOf(id) switch
            {
                BtfKind.Struct => TypeTag.Struct,
                BtfKind.Union => TypeTag.Union,
                BtfKind.Enum or BtfKind.Enum64 => TypeTag.Enum,
                BtfKind.Typedef => TypeTag.Ordinary,
                _ => null,
            };
            if (tag is { } known && _file.TypeOf(id).NameOffset is not 0 and var name)
            {
                try
                {
                    near.Add(known, _file.StringBytes(name));
                }
                catch (MalformedFileException)
                {
                    // Costs this name.
                }
            }
        }

        _base?.Suggest(near);
    }

    private CType? FindTagged(TypeTag tag, string name)
    {
        if (tag == TypeTag.Enum)
        {
            return TryFind(name, static k => k is BtfKind.Enum or BtfKind.Enum64, out var enumeration) ? TypeOf(enumeration.Id) : null;
        }

        if (tag == TypeTag.Struct ? TryFind(name, static k => k == BtfKind.Struct, out var found) : TryFind(name, static k => k == BtfKind.Union, out found))
        {
            return TypeOf(found.Id);
        }

        return TryFind(name, static k => k == BtfKind.Forward, out found) && found.Flag == (tag == TypeTag.Union) ? TypeOf(found.Id) : null;
    }

    private bool TryFind(string name, Func<BtfKind, bool> isWanted, out BtfType type)
    {
        type = default;
        return name.Length > 0 && _file.TryFind(Encoding.UTF8.GetBytes(name), isWanted, out type);
    }

    private CType Build(int id)
    {
        try
        {
            var type = _file.TypeOf(id);
            var referred = type.ReferredId;
            switch (type.Kind)
            {
                case BtfKind.Int:
                    return Integer(type);
                case BtfKind.Float:
                    return new FloatType(NameOf(type), Small(type.OwnSize));
                case BtfKind.Pointer:
                    return new PointerType(() => TypeOf(referred), AddressSize);
                case BtfKind.Array:
                    var (element, count) = type.Array;
                    // 0 is what both [0] and [] become.
                    return new ArrayType(() => TypeOf(element), count == 0 ? null : count);
                case BtfKind.Struct or BtfKind.Union:
                    return new StructType(type.Kind == BtfKind.Struct ? StructKind.Struct : StructKind.Union, NameOf(type), type.OwnSize, isIncomplete: false, () => Members(type));
                case BtfKind.Forward:
                    var (kind, name) = (type.Flag ? StructKind.Union : StructKind.Struct, NameOf(type));
                    return new StructType(kind, name, () => FindDefinition(kind, name));
                case BtfKind.Enum or BtfKind.Enum64:
                    var isSigned = IsSigned(type);
                    return new EnumType(NameOf(type), Small(type.OwnSize), isSigned, () => Enumerators(type, isSigned));
                case BtfKind.Typedef:
                    return new TypedefType(NameOf(type), () => TypeOf(referred));
                case BtfKind.Const:
                    return new QualifiedType(TypeQualifier.Const, () => TypeOf(referred));
                case BtfKind.Volatile:
                    return new QualifiedType(TypeQualifier.Volatile, () => TypeOf(referred));
                case BtfKind.Restrict:
                    return new QualifiedType(TypeQualifier.Restrict, () => TypeOf(referred));
                case BtfKind.FunctionPrototype:
                    return Prototype(type);
                default:
                    return Behind(type);
            }
        }
        catch (MalformedFileException)
        {
            return VoidType.Instance;
        }
    }

    /// <summary>What a function, a variable or a tag refers to.</summary>
    private CType Behind(BtfType type)
    {
        for (var i = 0; i < MaximumChain; i++)
        {
            if (type.Kind is not (BtfKind.Function or BtfKind.Variable or BtfKind.TypeTag))
            {
                return type.Kind is BtfKind.Void or BtfKind.DeclarationTag or BtfKind.DataSection ? VoidType.Instance : TypeOf(type.Id);
            }

            type = _file.TypeOf(type.ReferredId);
        }

        return VoidType.Instance;
    }

    private IntegerType Integer(BtfType type)
    {
        var name = NameOf(type);
        var (isCharacter, isBoolean) = type.IntegerFlags;
        var size = Small(type.OwnSize);
        var isSigned = type.Integer.IsSigned;
        // pahole never writes BTF_INT_CHAR.
        isCharacter |= name is "char" or "signed char" or "unsigned char";
        return new IntegerType(name, size, isBoolean ? IntegerEncoding.Boolean
            : isCharacter ? isSigned || name is "char" or "signed char" ? IntegerEncoding.SignedCharacter : IntegerEncoding.UnsignedCharacter
            : isSigned ? IntegerEncoding.Signed : IntegerEncoding.Unsigned);
    }

    private ImmutableArray<Member> Members(BtfType type)
    {
        var members = ImmutableArray.CreateBuilder<Member>(Math.Min(type.Count, 4096));
        try
        {
            for (var i = 0; i < type.Count; i++)
            {
                var member = type.Member(i);
                var (start, bits) = (member.BitOffset, member.BitSize);
                if (bits == 0 && IntegerBehind(member.TypeId) is { Kind: BtfKind.Int } integer && integer.Integer is var read && read.Bits != 0 && read.Bits != integer.OwnSize * 8)
                {
                    (start, bits) = (start + read.BitOffset, read.Bits);
                }

                members.Add(new Member(TextAt(member.NameOffset), TypeOf(member.TypeId), Math.Max(0, start), bits));
            }
        }
        catch (MalformedFileException)
        {
            // Costs the members from here on.
        }

        return members.ToImmutable();
    }

    private BtfType IntegerBehind(int id)
    {
        for (var i = 0; i < MaximumChain && id > 0 && id < _file.EndId; i++)
        {
            var type = _file.TypeOf(id);
            if (type.Kind is not (BtfKind.Typedef or BtfKind.Const or BtfKind.Volatile or BtfKind.TypeTag))
            {
                return type;
            }

            id = type.ReferredId;
        }

        return default;
    }

    private static bool IsSigned(BtfType type)
    {
        if (type.Flag || type.Kind == BtfKind.Enum64)
        {
            return type.Flag;
        }

        // Before the flag was written everything looked unsigned; an enumerator of -1 is likelier than one of 0xffffffff.
        for (var i = 0; i < type.Count; i++)
        {
            if (type.Enumerator(i).Value is > 0xfffff000 and <= uint.MaxValue)
            {
                return true;
            }
        }

        return false;
    }

    private ImmutableArray<Enumerator> Enumerators(BtfType type, bool isSigned)
    {
        var enumerators = ImmutableArray.CreateBuilder<Enumerator>(Math.Min(type.Count, 4096));
        try
        {
            for (var i = 0; i < type.Count; i++)
            {
                var (name, value) = type.Enumerator(i);
                enumerators.Add(new Enumerator(TextAt(name), ValueOf(type, value, isSigned)));
            }
        }
        catch (MalformedFileException)
        {
            // As above.
        }

        return enumerators.ToImmutable();
    }

    private static long ValueOf(BtfType type, ulong value, bool isSigned) => isSigned && type.Kind == BtfKind.Enum ? (int)value : (long)value;

    private FunctionType Prototype(BtfType type)
    {
        var (count, returns) = (type.Count, type.ReferredId);
        var isVariadic = count > 0 && type.Parameter(count - 1) is (0, 0);
        return new FunctionType(() => TypeOf(returns), () => Parameters(type, isVariadic ? count - 1 : count), isVariadic);
    }

    private ImmutableArray<Parameter> Parameters(BtfType type, int count)
    {
        var parameters = ImmutableArray.CreateBuilder<Parameter>(Math.Min(count, 4096));
        try
        {
            for (var i = 0; i < count; i++)
            {
                var (name, id) = type.Parameter(i);
                parameters.Add(new Parameter(TextAt(name), TypeOf(id)));
            }
        }
        catch (MalformedFileException)
        {
            // As above.
        }

        return parameters.ToImmutable();
    }

    private StructType? FindDefinition(StructKind kind, string name) =>
        (kind == StructKind.Union ? TryFind(name, static k => k == BtfKind.Union, out var found) : TryFind(name, static k => k == BtfKind.Struct, out found))
            ? TypeOf(found.Id) as StructType
            : null;

    private string NameOf(BtfType type) => TextAt(type.NameOffset);

    private string TextAt(int offset)
    {
        try
        {
            return offset == 0 ? "" : _file.StringAt(offset);
        }
        catch (MalformedFileException)
        {
            return "";
        }
    }

    private static int Small(int size) => Math.Clamp(size, 0, 64);

    private int FindPointerSize() =>
        (TryFind("long unsigned int", static k => k == BtfKind.Int, out var type) || TryFind("unsigned long", static k => k == BtfKind.Int, out type)
            || TryFind("long int", static k => k == BtfKind.Int, out type)) && type.OwnSize is 4 or 8
            ? type.OwnSize
            : 8;
}
