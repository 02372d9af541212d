// The type graph out of DWARF: DWARF 5, chapter 5. GCC and clang describe each type once per unit, in C mostly at the unit's top level; a structure that a unit only
// declares (DW_AT_declaration) is defined in some other unit, in a type unit (DW_AT_signature, when built with -fdebug-types-section) or nowhere.
// What a type refers to is read when somebody asks for it. Assumed: what stands in a supplementary file (dwz -m) is not known, and counts as void.
using System.Collections.Immutable;
using KTrace.Symbols.Types;

namespace KTrace.Symbols.Dwarf;

/// <summary>
/// DIE → type, for one object file. Thread-safe. Damage costs the type that has it: it becomes void, or a structure without members. No getter of a type throws.
/// </summary>
public sealed class DwarfTypes
{
    // Objects are small and come back in microseconds; the bound is against a session that walks through everything.
    private const int MaximumCached = 1 << 18;
    private const int CachedUnits = 16;
    private const int MaximumOrigins = 8;

    private readonly DwarfSections _sections;
    private readonly UnitIndex _units;
    private readonly Func<StructKind, string, StructType?>? _findDefinition;
    private readonly Lock _lock = new();
    private readonly Dictionary<long, CType> _types = [];
    private readonly Unit?[] _loaded = new Unit?[CachedUnits];
    private readonly long[] _lastUse = new long[CachedUnits];
    private Dictionary<ulong, long>? _signatures;
    private long _uses;

    /// <param name="symbolizer">Whose debug sections are read.</param>
    /// <param name="findDefinition">Finds a complete structure for one that is only declared where it is used; null: such a one stays incomplete.</param>
    public DwarfTypes(Symbolizer symbolizer, Func<StructKind, string, StructType?>? findDefinition = null)
        : this(symbolizer.Sections, symbolizer.Units, findDefinition)
    {
    }

    internal DwarfTypes(DwarfSections sections, UnitIndex units, Func<StructKind, string, StructType?>? findDefinition = null)
    {
        _sections = sections;
        _units = units;
        _findDefinition = findDefinition;
    }

    /// <summary>Bytes of a pointer.</summary>
    public int AddressSize => _sections.AddressSize;

    /// <summary>
    /// The type at a DIE: a type's own DIE, or one that has a type (a variable, parameter or member: the type of it; a subprogram: a <see cref="FunctionType"/>).
    /// Void where nothing can be read.
    /// </summary>
    /// <param name="dieOffset">Bytes from the start of .debug_info (DW_AT_type, resolved); -1 is void.</param>
    public CType TypeAt(long dieOffset)
    {
        if (dieOffset < 0)
        {
            return VoidType.Instance;
        }

        lock (_lock)
        {
            if (_types.TryGetValue(dieOffset, out var known))
            {
                return known;
            }

            CType type;
            try
            {
                type = Build(dieOffset, 0);
            }
            catch (MalformedFileException)
            {
                type = VoidType.Instance;
            }

            if (_types.Count >= MaximumCached)
            {
                _types.Clear();
            }

            _types[dieOffset] = type;
            return type;
        }
    }

    private CType Build(long offset, int depth)
    {
        if (depth > MaximumOrigins || UnitAt(offset) is not { } unit || ReadDie(unit, offset) is not { } die)
        {
            return VoidType.Instance;
        }

        switch (die.Tag)
        {
            case DwTag.BaseType:
                return BaseType(in die);
            case DwTag.PointerType or DwTag.ReferenceType or DwTag.RvalueReferenceType:
                return new PointerType(Target(in die), die.ByteSize is 4 or 8 ? (int)die.ByteSize : unit.Header.AddressSize);
            case DwTag.StructureType:
                return Composite(in die, StructKind.Struct, depth);
            case DwTag.UnionType:
                return Composite(in die, StructKind.Union, depth);
            case DwTag.ClassType:
                return Composite(in die, StructKind.Class, depth);
            case DwTag.EnumerationType:
                return Enumeration(in die, depth);
            case DwTag.ArrayType:
                return Array(in die);
            case DwTag.Typedef:
                return new TypedefType(TextOf(die.Name), Target(in die));
            case DwTag.ConstType:
                return new QualifiedType(TypeQualifier.Const, Target(in die));
            case DwTag.VolatileType:
                return new QualifiedType(TypeQualifier.Volatile, Target(in die));
            case DwTag.RestrictType:
                return new QualifiedType(TypeQualifier.Restrict, Target(in die));
            case DwTag.AtomicType:
                return new QualifiedType(TypeQualifier.Atomic, Target(in die));
            case DwTag.SubroutineType or DwTag.Subprogram:
                return Function(in die);
            case DwTag.Variable or DwTag.FormalParameter or DwTag.Member or DwTag.SubrangeType:
                var (of, signature) = TypeOf(in die);
                of = signature != 0 ? Signed(signature) : of;
                return of >= 0 ? Build(of, depth + 1) : VoidType.Instance;
            default:
                return VoidType.Instance;
        }
    }

    private Func<CType> Target(in TypeDie die)
    {
        var (offset, signature) = TypeOf(in die);
        return signature == 0 ? () => TypeAt(offset) : () => TypeAt(Signed(signature));
    }

    /// <summary>DW_AT_type of the DIE, or of what its DW_AT_abstract_origin or DW_AT_specification leads to: an offset (-1 for none) or a signature.</summary>
    private (long Offset, ulong Signature) TypeOf(in TypeDie die)
    {
        // Origins are two or three long; a cycle ends here.
        var at = die;
        for (var i = 0; i < MaximumOrigins && at.Type < 0 && at.TypeSignature == 0 && at.Origin >= 0; i++)
        {
            if (UnitAt(at.Origin) is not { } unit || ReadDie(unit, at.Origin) is not { } original)
            {
                break;
            }

            at = original;
        }

        return (at.Type, at.TypeSignature);
    }

    private CType BaseType(in TypeDie die)
    {
        const int Address = 1, Boolean = 2, Float = 4, Signed = 5, SignedChar = 6, Unsigned = 7, UnsignedChar = 8, Utf = 16;
        var name = TextOf(die.Name);
        var size = Small(die.ByteSize >= 0 ? die.ByteSize : (Math.Max(0, die.BitSize) + 7) / 8);
        return die.Encoding switch
        {
            Boolean => new IntegerType(name, size, IntegerEncoding.Boolean),
            Signed => new IntegerType(name, size, IntegerEncoding.Signed),
            SignedChar => new IntegerType(name, size, IntegerEncoding.SignedCharacter),
            Unsigned or Address or Utf => new IntegerType(name, size, IntegerEncoding.Unsigned),
            UnsignedChar => new IntegerType(name, size, IntegerEncoding.UnsignedCharacter),
            Float => new FloatType(name, size),
            // Complex and decimal floating point, packed decimals: their bytes are all that can be said.
            _ => new FloatType(name, size),
        };
    }

    private CType Composite(in TypeDie die, StructKind kind, int depth)
    {
        // GCC leaves a stub without a name where the type is in a type unit.
        if (die.Signature != 0 && Signed(die.Signature) is >= 0 and var apart && Build(apart, depth + 1) is StructType complete)
        {
            return complete;
        }

        var (name, entry) = (TextOf(die.Name), die.Entry);
        if (!die.IsDeclaration)
        {
            return new StructType(kind, name, Math.Max(0, die.ByteSize), isIncomplete: false, () => Members(entry));
        }

        return new StructType(kind, name, () => name.Length > 0 ? _findDefinition?.Invoke(kind, name) : null);
    }

    private ImmutableArray<Member> Members(int entry)
    {
        var members = ImmutableArray.CreateBuilder<Member>();
        foreach (var die in Children(entry, DwTag.Member, DwTag.Inheritance))
        {
            // A member with DW_AT_declaration or DW_AT_external is static: C++ only, and not in the object.
            if (die.IsDeclaration)
            {
                continue;
            }

            var type = TypeAt(die.TypeSignature != 0 ? Signed(die.TypeSignature) : die.Type);
            var start = Math.Max(0, die.MemberLocation) * 8;
            var bits = (int)Math.Clamp(die.BitSize, 0, 1024);
            if (die.DataBitOffset >= 0)
            {
                start += die.DataBitOffset;
            }
            else if (die.HasOldBitOffset && bits > 0)
            {
                var storage = die.ByteSize >= 0 ? die.ByteSize : type.Size;
                start += (storage * 8) - die.OldBitOffset - bits;
            }

            members.Add(new Member(TextOf(die.Name), type, Math.Max(0, start), bits));
        }

        return members.ToImmutable();
    }

    private CType Enumeration(in TypeDie die, int depth)
    {
        if (die.Signature != 0 && Signed(die.Signature) is >= 0 and var apart && Build(apart, depth + 1) is EnumType complete)
        {
            return complete;
        }

        var (name, entry, size) = (TextOf(die.Name), die.Entry, Small(die.ByteSize));
        const int EncodingSigned = 5, EncodingSignedChar = 6;
        bool isSigned;
        if (die.Encoding != 0)
        {
            isSigned = die.Encoding is EncodingSigned or EncodingSignedChar;
        }
        else if (die.Type >= 0 && UnitAt(die.Type) is { } other && ReadDie(other, die.Type) is { } underlying)
        {
            // One step is enough for C, where it is a base type.
            isSigned = underlying.Encoding is EncodingSigned or EncodingSignedChar;
            size = size == 0 ? Small(underlying.ByteSize) : size;
        }
        else
        {
            // DWARF 2 and 3 say nothing: a negative enumerator does.
            isSigned = Children(entry, DwTag.Enumerator).Exists(e => e.ValueIsSigned && e.Value < 0);
        }

        return new EnumType(name, size, isSigned, () => Enumerators(entry, size, isSigned));
    }

    private ImmutableArray<Enumerator> Enumerators(int entry, int size, bool isSigned)
    {
        var enumerators = ImmutableArray.CreateBuilder<Enumerator>();
        foreach (var die in Children(entry, DwTag.Enumerator))
        {
            var value = die.Value;
            if (size is > 0 and < 8)
            {
                // A fixed-size form has no sign of its own.
                var shift = 64 - (8 * size);
                value = isSigned ? value << shift >> shift : (long)((ulong)value << shift >> shift);
            }

            enumerators.Add(new Enumerator(TextOf(die.Name), value));
        }

        return enumerators.ToImmutable();
    }

    private ArrayType Array(in TypeDie die)
    {
        var dimensions = Children(die.Entry, DwTag.SubrangeType);
        var element = Target(in die);
        if (dimensions.Count == 0)
        {
            return new ArrayType(element, null);
        }

        var type = new ArrayType(element, CountOf(dimensions[^1]));
        for (var i = dimensions.Count - 2; i >= 0; i--)
        {
            type = new ArrayType(type, CountOf(dimensions[i]));
        }

        return type;
    }

    private static long? CountOf(TypeDie dimension) => dimension.Count >= 0 ? dimension.Count : null;

    private FunctionType Function(in TypeDie die)
    {
        var (entry, type) = (die.Entry, Target(in die));
        var isVariadic = Children(entry, DwTag.UnspecifiedParameters).Count > 0;
        return new FunctionType(type, () => Parameters(entry), isVariadic);
    }

    private ImmutableArray<Parameter> Parameters(int entry)
    {
        var parameters = ImmutableArray.CreateBuilder<Parameter>();
        foreach (var die in Children(entry, DwTag.FormalParameter))
        {
            var name = TextOf(die.Name);
            if (name.Length == 0 && die.Origin >= 0)
            {
                name = NameAt(die.Origin);
            }

            parameters.Add(new Parameter(name, TypeAt(die.Entry)));
        }

        return parameters.ToImmutable();
    }

    /// <summary>The direct children of those tags. What comes before damage counts.</summary>
    private unsafe List<TypeDie> Children(int entry, ushort tag, ushort otherTag = 0)
    {
        var children = new List<TypeDie>();
        lock (_lock)
        {
            try
            {
                if (UnitAt(entry) is not { } unit)
                {
                    return children;
                }

                fixed (byte* bytes = _sections.Info.Span)
                {
                    var reader = new DieReader(unit, bytes, entry);
                    if (!reader.ReadEntry() || !reader.Entry.HasChildren)
                    {
                        return children;
                    }

                    reader.SkipAttributes();
                    while (!reader.AtEnd && reader.ReadEntry())
                    {
                        if (reader.Entry.Tag != tag && reader.Entry.Tag != otherTag)
                        {
                            reader.SkipTree();
                            continue;
                        }

                        var hasChildren = reader.Entry.HasChildren;
                        children.Add(TypeDie.Read(ref reader, unit));
                        if (hasChildren)
                        {
                            reader.SkipChildren();
                        }
                    }
                }
            }
            catch (MalformedFileException)
            {
                // Costs the rest of this list.
            }
        }

        return children;
    }

    private string NameAt(long entry)
    {
        lock (_lock)
        {
            try
            {
                return UnitAt(entry) is { } unit && ReadDie(unit, entry) is { } die ? TextOf(die.Name) : "";
            }
            catch (MalformedFileException)
            {
                return "";
            }
        }
    }

    private unsafe TypeDie? ReadDie(Unit unit, long entry)
    {
        fixed (byte* bytes = _sections.Info.Span)
        {
            var reader = new DieReader(unit, bytes, (int)entry);
            return reader.ReadEntry() ? TypeDie.Read(ref reader, unit) : null;
        }
    }

    private string TextOf(StringReference name)
    {
        try
        {
            return _sections.Text(name);
        }
        catch (MalformedFileException)
        {
            return "";
        }
    }

    /// <summary>The unit that holds an offset; null when none does. Call under the lock.</summary>
    private Unit? UnitAt(long offset)
    {
        if (offset is < 0 or > int.MaxValue)
        {
            return null;
        }

        var slot = 0;
        for (var i = 0; i < CachedUnits; i++)
        {
            if (_loaded[i] is { } loaded && offset >= loaded.Header.FirstEntry && offset < loaded.Header.End)
            {
                _lastUse[i] = ++_uses;
                return loaded;
            }

            slot = _lastUse[i] < _lastUse[slot] ? i : slot;
        }

        var start = _units.Holding((int)offset);
        if (start < 0)
        {
            return null;
        }

        var unit = new Unit(_sections) { ReadsTypeUnits = true };
        unit.Load(start);
        if (unit.Tag == 0 || offset < unit.Header.FirstEntry || offset >= unit.Header.End)
        {
            return null;
        }

        (_loaded[slot], _lastUse[slot]) = (unit, ++_uses);
        return unit;
    }

    // Base types and enumerations: 16 bytes is the largest that compilers have.
    private static int Small(long size) => (int)Math.Clamp(size, 0, 64);

    /// <summary>The type that a type unit is there for, by its signature (DWARF 5, section 7.5.1.3); -1 when there is none.</summary>
    private long Signed(ulong signature)
    {
        lock (_lock)
        {
            return (_signatures ??= ReadSignatures()).GetValueOrDefault(signature, -1);
        }
    }

    private Dictionary<ulong, long> ReadSignatures()
    {
        var signatures = new Dictionary<ulong, long>();
        foreach (var offset in _units.UnitOffsets)
        {
            try
            {
                var header = UnitHeader.Read(_sections.Info, offset);
                if (header.IsTypeUnit)
                {
                    var r = _sections.Info.ReaderAt(header.FirstEntry - 8 - header.OffsetSize);
                    signatures.TryAdd(r.ReadU64(), (long)Math.Min(r.ReadAddress(header.OffsetSize), int.MaxValue) + offset);
                }
            }
            catch (MalformedFileException)
            {
                // Costs this unit's type.
            }
        }

        return signatures;
    }
}
