// The variables of one function, or of one inlined copy of it: DWARF 5, sections 3.3 and 3.5. Lexical blocks that hold the address count, others do not; what was inlined
// there has scopes of its own.
namespace KTrace.Symbols.Dwarf.Locations;

/// <summary>What a subprogram or an inlined call says besides its variables.</summary>
internal sealed class ScopeDie
{
    /// <summary>Of the source's order, and all of them: what a copy leaves out comes from its abstract instance.</summary>
    public List<VariableDie> Parameters { get; } = [];

    /// <summary>Those of the innermost block first.</summary>
    public List<VariableDie> Locals { get; } = [];

    /// <summary>DW_AT_frame_base; a list is looked up at the address.</summary>
    public ExpressionBytes FrameBase { get; set; }

    /// <summary>DW_AT_entry_pc, or where the code begins.</summary>
    public ulong EntryPc { get; set; }

    /// <summary>DW_AT_calling_convention says that the function is not called as the ABI has it (DW_CC_nocall).</summary>
    public bool IsUnusual { get; set; }

    /// <summary>DW_TAG_unspecified_parameters.</summary>
    public bool IsVariadic { get; set; }

    /// <summary>DW_AT_external, of the function itself or its abstract instance.</summary>
    public bool IsExternal { get; set; }

    /// <summary>DW_AT_type of the function, or -1.</summary>
    public long ReturnType { get; set; } = -1;

    public long Origin { get; set; } = -1;

    /// <summary>DW_AT_call_file, _line and _column of an inlined call; zeros where there are none.</summary>
    public (ulong File, ulong Line, ulong Column) Called { get; set; }

    /// <summary>DW_AT_decl_file, _line and _column of the function, or of its abstract instance.</summary>
    public (ulong File, ulong Line, ulong Column) Declared { get; set; }

    /// <summary>
    /// An inlined call of a function in itself that is none: GCC split the function (ipa-split.cc: foo.part.0) and put the second part back where it was. Such a call stands, for the
    /// debug information, where the function is declared, which no call in the source does, and its parameters have no places of their own.
    /// </summary>
    public bool IsPartOf(ScopeDie outer) => Origin >= 0 && Origin == outer.Origin && Called.Line > 0 && Called.Column > 0 && Called == Declared
        && Parameters.Count == outer.Parameters.Count && Parameters.TrueForAll(parameter => parameter is { HasLocation: false, Constant: null });
}

/// <summary>Reads the scopes that hold an address.</summary>
internal static class ScopeReader
{
    private const int MaximumDepth = 64;
    private const int MaximumVariables = 4096;
    private const int MaximumOrigins = 8;
    private const ulong NoCall = 3;

    /// <param name="entry">A DW_TAG_subprogram or DW_TAG_inlined_subroutine.</param>
    /// <param name="address">An address of the object file in it.</param>
    /// <exception cref="MalformedFileException">One of the DIEs is damaged.</exception>
    public static ScopeDie Read(Unit unit, int entry, ulong address)
    {
        var scope = new ScopeDie();
        var found = new List<(int Depth, int Entry, bool IsParameter)>();
        ReadTree(unit, entry, address, scope, found);
        var own = new List<VariableDie>();
        foreach (var (_, at, _) in found.Where(f => f.IsParameter))
        {
            if (VariableDie.Read(unit, at) is { } parameter)
            {
                own.Add(parameter);
            }
        }

        AddInOrder(unit, scope, own);
        foreach (var (_, at, _) in found.Where(f => !f.IsParameter).OrderByDescending(f => f.Depth))
        {
            if (VariableDie.Read(unit, at) is { } local)
            {
                scope.Locals.Add(local);
            }
        }

        return scope;
    }

    private static void AddInOrder(Unit unit, ScopeDie scope, List<VariableDie> own)
    {
        foreach (var (holder, entry) in ParametersOfOrigin(unit, scope))
        {
            var copy = own.Find(p => p.Origin == entry);
            if (copy is not null)
            {
                own.Remove(copy);
            }
            else
            {
                copy = VariableDie.Read(holder, entry);
            }

            if (copy is not null)
            {
                scope.Parameters.Add(copy);
            }
        }

        scope.Parameters.AddRange(own);
    }

    private static List<(Unit Unit, int Entry)> ParametersOfOrigin(Unit unit, ScopeDie scope)
    {
        var parameters = new List<(Unit, int)>();
        var origin = scope.Origin;
        for (var depth = 0; depth < MaximumOrigins && origin >= 0 && unit.Holding(origin) is { } holder; depth++)
        {
            var abstractScope = new ScopeDie();
            var found = new List<(int Depth, int Entry, bool IsParameter)>();
            ReadTree(holder, (int)origin, null, abstractScope, found);
            scope.IsVariadic |= abstractScope.IsVariadic;
            scope.IsExternal |= abstractScope.IsExternal;
            scope.ReturnType = scope.ReturnType < 0 ? abstractScope.ReturnType : scope.ReturnType;
            scope.Declared = scope.Declared.Line == 0 ? abstractScope.Declared : scope.Declared;
            if (parameters.Count == 0)
            {
                parameters.AddRange(found.Where(f => f.IsParameter).Select(f => (holder, f.Entry)));
            }

            (unit, origin) = (holder, abstractScope.Origin);
        }

        return parameters;
    }

    /// <param name="address">Null: of the scope itself only the parameters count.</param>
    private static unsafe void ReadTree(Unit unit, int entry, ulong? address, ScopeDie scope, List<(int Depth, int Entry, bool IsParameter)> into)
    {
        fixed (byte* bytes = unit.Sections.Info.Span)
        {
            var reader = new DieReader(unit, bytes, entry);
            if (!reader.ReadEntry())
            {
                throw unit.Malformed(entry, "a null entry where a function is expected");
            }

            var hasChildren = reader.Entry.HasChildren;
            ReadScope(unit, ref reader, address, scope);
            for (var depth = hasChildren ? 1 : 0; depth > 0;)
            {
                if (!reader.ReadEntry())
                {
                    depth--;
                    continue;
                }

                switch (reader.Entry.Tag)
                {
                    case DwTag.FormalParameter or DwTag.Variable when into.Count < MaximumVariables:
                        if (reader.Entry.Tag == DwTag.FormalParameter ? depth == 1 : address is not null)
                        {
                            into.Add((depth, reader.EntryOffset, reader.Entry.Tag == DwTag.FormalParameter));
                        }

                        reader.SkipTree();
                        break;
                    case DwTag.UnspecifiedParameters when depth == 1:
                        scope.IsVariadic = true;
                        reader.SkipTree();
                        break;
                    case DwTag.LexicalBlock when reader.Entry.HasChildren && address is not null && depth < MaximumDepth:
                        depth += EnterBlock(unit, ref reader, address.Value) ? 1 : 0;
                        break;
                    default:
                        reader.SkipTree();
                        break;
                }
            }
        }
    }

    private static void ReadScope(Unit unit, ref DieReader reader, ulong? address, ScopeDie scope)
    {
        ulong low = 0, entryPc = 0;
        var (hasEntry, entryIsOffset) = (false, false);
        var ranges = new GrowingArray<AddressRange>(4);
        for (var i = 0; i < reader.AttributeCount; i++)
        {
            ref readonly var attribute = ref reader.Attribute(i);
            switch (attribute.Name)
            {
                case DwAt.LowPc:
                    low = reader.ReadNumber(in attribute);
                    break;
                case DwAt.EntryPc:
                    entryIsOffset = !AttributeForm.IsAddress(attribute.Form);
                    entryPc = reader.ReadNumber(in attribute);
                    hasEntry = true;
                    break;
                case DwAt.Ranges:
                    unit.ReadRanges(ref reader, in attribute, ranges);
                    break;
                case DwAt.FrameBase when AttributeForm.IsBlock(attribute.Form):
                    scope.FrameBase = CallSiteParameters.Expression(ref reader, in attribute, unit);
                    break;
                case DwAt.FrameBase when address is { } at:
                    scope.FrameBase = LocationLists.Find(unit, attribute.Form, reader.ReadNumber(in attribute), at);
                    break;
                case DwAt.CallingConvention:
                    scope.IsUnusual = reader.ReadNumber(in attribute) == NoCall;
                    break;
                case DwAt.External:
                    scope.IsExternal = reader.ReadNumber(in attribute) != 0;
                    break;
                case DwAt.Type:
                    scope.ReturnType = reader.ReadReference(in attribute);
                    break;
                case DwAt.CallFile:
                    scope.Called = scope.Called with { File = reader.ReadNumber(in attribute) };
                    break;
                case DwAt.CallLine:
                    scope.Called = scope.Called with { Line = reader.ReadNumber(in attribute) };
                    break;
                case DwAt.CallColumn:
                    scope.Called = scope.Called with { Column = reader.ReadNumber(in attribute) };
                    break;
                case DwAt.DeclFile:
                    scope.Declared = scope.Declared with { File = reader.ReadNumber(in attribute) };
                    break;
                case DwAt.DeclLine:
                    scope.Declared = scope.Declared with { Line = reader.ReadNumber(in attribute) };
                    break;
                case DwAt.DeclColumn:
                    scope.Declared = scope.Declared with { Column = reader.ReadNumber(in attribute) };
                    break;
                case DwAt.AbstractOrigin:
                    scope.Origin = reader.ReadReference(in attribute);
                    break;
                default:
                    reader.Skip(in attribute);
                    break;
            }
        }

        var start = low != 0 || ranges.Count == 0 ? low : ranges[0].Low;
        scope.EntryPc = !hasEntry ? start : entryIsOffset ? start + entryPc : entryPc;
    }

    /// <summary>Goes into a block that holds the address; passes any other.</summary>
    private static bool EnterBlock(Unit unit, ref DieReader reader, ulong address)
    {
        var offset = reader.EntryOffset;
        ulong low = 0, high = 0;
        long sibling = -1;
        var highIsAddress = false;
        var ranges = new GrowingArray<AddressRange>(4);
        var isBare = true;
        for (var i = 0; i < reader.AttributeCount; i++)
        {
            ref readonly var attribute = ref reader.Attribute(i);
            switch (attribute.Name)
            {
                case DwAt.LowPc:
                    low = reader.ReadNumber(in attribute);
                    isBare = false;
                    break;
                case DwAt.HighPc:
                    high = reader.ReadNumber(in attribute);
                    highIsAddress = AttributeForm.IsAddress(attribute.Form);
                    break;
                case DwAt.Ranges:
                    unit.ReadRanges(ref reader, in attribute, ranges);
                    isBare = false;
                    break;
                case DwAt.Sibling:
                    sibling = reader.ReadReference(in attribute);
                    break;
                default:
                    reader.Skip(in attribute);
                    break;
            }
        }

        high = highIsAddress ? high : low + high;
        var holds = isBare || (address >= low && address < high);
        for (var i = 0; i < ranges.Count; i++)
        {
            holds |= ranges[i].Contains(address);
        }

        if (holds)
        {
            return true;
        }

        if (sibling >= 0)
        {
            reader.EntryOffset = offset;
            reader.JumpTo(sibling);
        }
        else
        {
            reader.SkipChildren();
        }

        return false;
    }
}
