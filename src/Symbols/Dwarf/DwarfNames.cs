// Types, variables and functions of one object by name, out of DWARF alone. A variable that was declared extern before it was defined has its name at the declaration
// and its address at a nameless DIE that refers to it (DW_AT_specification): so the type of a variable whose symbol is known is found by the address.
using System.Buffers.Binary;
using System.Text;
using KTrace.Symbols.Types;

namespace KTrace.Symbols.Dwarf;

/// <summary>Name → type in one object's DWARF. Thread-safe. Answers are remembered, also that there is none.</summary>
internal sealed class DwarfNames
{
    private const int MaximumRemembered = 1 << 14;

    private readonly DwarfSections _sections;
    private readonly UnitIndex _units;
    private readonly Lock _lock = new();
    private readonly Dictionary<string, CType?> _tagged = new(StringComparer.Ordinal);
    private readonly Dictionary<ulong, CType?> _variables = [];
    private readonly HashSet<string> _absent = new(StringComparer.Ordinal);

    /// <param name="findDefinition">Where else complete structures may be (BTF); asked first, as it is quicker. Null for nowhere.</param>
    public DwarfNames(Symbolizer symbolizer, Func<StructKind, string, StructType?>? findDefinition = null)
    {
        _sections = symbolizer.Sections;
        _units = symbolizer.Units;
        Search = symbolizer.Names;
        Types = new DwarfTypes(symbolizer, (kind, name) => findDefinition?.Invoke(kind, name)
            ?? FindType(kind == StructKind.Union ? TypeTag.Union : TypeTag.Struct, name) as StructType);
    }

    public DwarfTypes Types { get; }

    public NameSearch Search { get; }

    /// <summary>A complete type of that name where there is one, an incomplete one otherwise, or null.</summary>
    public CType? FindType(TypeTag tag, string name)
    {
        var key = (char)('0' + (int)tag) + name;
        lock (_lock)
        {
            if (_tagged.TryGetValue(key, out var known))
            {
                return known;
            }
        }

        CType? found = null;
        foreach (var spelling in tag == TypeTag.Ordinary && BaseTypeNames.Spellings(name) is { Count: > 0 } spellings ? spellings : [name])
        {
            found = Types.TypeAt(FindEntry(tag, spelling)) is var type and not VoidType ? type : null;
            if (found is not null)
            {
                break;
            }
        }

        Remember(_tagged, key, found);
        return found;
    }

    /// <summary>The type of the variable at an address, static ones inside functions included; null when no DIE has that address.</summary>
    public CType? FindVariableAt(ulong address, string symbolName)
    {
        lock (_lock)
        {
            if (_variables.TryGetValue(address, out var known))
            {
                return known;
            }
        }

        var entry = -1L;
        var size = _sections.AddressSize;
        var expression = new byte[1 + size];
        expression[0] = DwOp.Addr;
        if (size == 8)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(expression.AsSpan(1), address);
        }
        else
        {
            BinaryPrimitives.WriteUInt32LittleEndian(expression.AsSpan(1), (uint)address);
        }

        new DieSearch(_sections, _units).Find(
            [expression],
            insideFunctions: true,
            (in FoundDie die) =>
            {
                // Several may share an address: empty structures, and a per-cpu variable that begins where another object does.
                if (die.Tag == DwTag.Variable && HasLocation(in die, expression) && (NameOf(in die) is var name && (entry < 0 || IsNameOf(name, symbolName))))
                {
                    entry = die.Entry;
                    return IsNameOf(name, symbolName);
                }

                return false;
            });
        var found = entry >= 0 ? Types.TypeAt(entry) : FindVariable(symbolName, address);
        Remember(_variables, address, found);
        return found;
    }

    /// <summary>The type of a variable at file scope by its name: of its definition, or else of a declaration. Null when there is none.</summary>
    public CType? FindVariable(string name) => FindVariable(name, null);

    /// <param name="address">Where it lies: of several of one name the one there, when its location says so by number (clang's DW_OP_addrx).</param>
    private CType? FindVariable(string symbolName, ulong? address)
    {
        // A static variable inside a function: name.123 of GCC, function.name of clang.
        var dot = symbolName.IndexOf('.', StringComparison.Ordinal);
        var isLocal = dot > 0 && address is not null;
        var suffix = symbolName[(dot + 1)..];
        var name = !isLocal ? symbolName : suffix.Length > 0 && char.IsAsciiDigit(suffix[0]) ? symbolName[..dot] : suffix;
        long definition = -1, declaration = -1;
        Search.Find(name, (in FoundDie die) =>
        {
            if (die.Tag != DwTag.Variable || !DieFacts.TryRead(die.Unit, die.Entry, out var facts))
            {
                return false;
            }

            if (facts.IsDeclaration)
            {
                declaration = declaration < 0 ? die.Entry : declaration;
                return false;
            }

            var isThere = address is null || LiesAt(in die, address.Value);
            if (die.Parent >= 0 && !isThere)
            {
                // A local variable of another function.
                return false;
            }

            definition = definition < 0 || isThere ? die.Entry : definition;
            return isThere;
        }, insideFunctions: isLocal);
        return definition < 0 && declaration < 0 ? null : Types.TypeAt(definition >= 0 ? definition : declaration);
    }

    /// <summary>The type of the function that is entered at an address.</summary>
    public FunctionType? FindFunctionAt(ulong address)
    {
        try
        {
            var offset = _units.Find(address);
            if (offset < 0)
            {
                return null;
            }

            var unit = new Unit(_sections, new UnitFinder(_sections, _units).Find);
            unit.Load(offset);
            var functions = new FunctionIndex();
            functions.Load(unit, deep: false);
            return functions.TryFind(address, out var piece) && piece.FunctionLow == address ? Types.TypeAt(piece.Entry) as FunctionType : null;
        }
        catch (MalformedFileException)
        {
            return null;
        }
    }

    /// <summary>An enumerator of any enumeration at file scope.</summary>
    public (EnumType Type, long Value)? FindEnumerator(string name)
    {
        var parent = -1;
        Search.Find(name, (in FoundDie die) =>
        {
            parent = die.Tag == DwTag.Enumerator ? die.Parent : -1;
            return parent >= 0;
        });
        if (parent < 0 || Types.TypeAt(parent) is not EnumType type)
        {
            return null;
        }

        foreach (var enumerator in type.Enumerators)
        {
            if (enumerator.Name == name)
            {
                return (type, enumerator.Value);
            }
        }

        return null;
    }

    /// <summary>Adds the names of types that are like a misspelt one. Looks at every unit: for messages to people.</summary>
    public unsafe void Suggest(NearTypeNames near)
    {
        var unit = new Unit(_sections);
        foreach (var offset in _units.UnitOffsets)
        {
            try
            {
                unit.Load(offset);
                if (!unit.HasChildren)
                {
                    continue;
                }

                fixed (byte* bytes = _sections.Info.Span)
                {
                    var reader = new DieReader(unit, bytes, unit.FirstChild);
                    while (!reader.AtEnd && reader.ReadEntry())
                    {
                        if (TagOf(reader.Entry.Tag) is { } tag)
                        {
                            AddName(unit, reader, tag, near);
                        }

                        reader.SkipTree();
                    }
                }
            }
            catch (MalformedFileException)
            {
                // Costs the rest of this unit.
            }

            _sections.Info.Release(offset, unit.Header.End - offset);
        }
    }

    private void AddName(Unit unit, DieReader reader, TypeTag tag, NearTypeNames near)
    {
        for (var i = 0; i < reader.AttributeCount; i++)
        {
            ref readonly var attribute = ref reader.Attribute(i);
            if (attribute.Name == DwAt.Name)
            {
                near.Add(tag, _sections.Bytes(reader.ReadString(in attribute)));
                return;
            }

            reader.Skip(in attribute);
        }
    }

    private long FindEntry(TypeTag tag, string name)
    {
        lock (_lock)
        {
            if (_absent.Contains(name))
            {
                return -1;
            }
        }

        long complete = -1, declared = -1;
        var isAny = false;
        Search.Find(name, (in FoundDie die) =>
        {
            var itsTag = die.Tag == DwTag.BaseType ? TypeTag.Ordinary : TagOf(die.Tag);
            isAny |= itsTag is not null;
            if (itsTag != tag)
            {
                return false;
            }

            if (DieFacts.TryRead(die.Unit, die.Entry, out var facts) && !facts.IsDeclaration)
            {
                complete = die.Entry;
                return true;
            }

            declared = declared < 0 ? die.Entry : declared;
            return false;
        });
        if (!isAny)
        {
            // Whoever does not know which kind of type a name is asks for one after the other.
            lock (_lock)
            {
                if (_absent.Count >= MaximumRemembered)
                {
                    _absent.Clear();
                }

                _absent.Add(name);
            }
        }

        return complete >= 0 ? complete : declared;
    }

    private static TypeTag? TagOf(ushort tag) => tag switch
    {
        DwTag.StructureType or DwTag.ClassType => TypeTag.Struct,
        DwTag.UnionType => TypeTag.Union,
        DwTag.EnumerationType => TypeTag.Enum,
        DwTag.Typedef => TypeTag.Ordinary,
        _ => null,
    };

    private string NameOf(in FoundDie die)
    {
        try
        {
            return DieFacts.TryReadWithOrigin(die.Unit, die.Entry, out var facts) ? _sections.Text(facts.Name) : "";
        }
        catch (MalformedFileException)
        {
            return "";
        }
    }

    /// <summary>A static variable inside a function is <c>name.123</c> to the symbol table.</summary>
    private static bool IsNameOf(string name, string symbolName) =>
        symbolName == name || (symbolName.StartsWith(name, StringComparison.Ordinal) && symbolName.Length > name.Length && symbolName[name.Length] == '.');

    private unsafe bool HasLocation(in FoundDie die, ReadOnlySpan<byte> expression)
    {
        fixed (byte* bytes = _sections.Info.Span)
        {
            var reader = new DieReader(die.Unit, bytes, die.Entry);
            if (!reader.ReadEntry())
            {
                return false;
            }

            for (var i = 0; i < reader.AttributeCount; i++)
            {
                ref readonly var attribute = ref reader.Attribute(i);
                if (attribute.Name == DwAt.Location && AttributeForm.IsBlock(attribute.Form))
                {
                    return reader.ReadBlock(in attribute).SequenceEqual(expression);
                }

                reader.Skip(in attribute);
            }
        }

        return false;
    }

    private unsafe bool LiesAt(in FoundDie die, ulong address)
    {
        // DW_OP_addrx: a ULEB128 index into .debug_addr (DWARF 5, section 2.5.1.1).
        const byte Addrx = 0xa1;
        fixed (byte* bytes = _sections.Info.Span)
        {
            var reader = new DieReader(die.Unit, bytes, die.Entry);
            if (!reader.ReadEntry())
            {
                return false;
            }

            for (var i = 0; i < reader.AttributeCount; i++)
            {
                ref readonly var attribute = ref reader.Attribute(i);
                if (attribute.Name != DwAt.Location || !AttributeForm.IsBlock(attribute.Form))
                {
                    reader.Skip(in attribute);
                    continue;
                }

                var location = reader.ReadBlock(in attribute);
                if (location.Length < 2 || location[0] != Addrx)
                {
                    return false;
                }

                ulong index = 0;
                for (var at = 1; at < location.Length && at < 6; at++)
                {
                    index |= (ulong)(location[at] & 0x7f) << (7 * (at - 1));
                }

                return die.Unit.AddressAt(index) == address;
            }
        }

        return false;
    }

    private void Remember<TKey>(Dictionary<TKey, CType?> into, TKey key, CType? found)
        where TKey : notnull
    {
        lock (_lock)
        {
            if (into.Count >= MaximumRemembered)
            {
                into.Clear();
            }

            into[key] = found;
        }
    }
}
