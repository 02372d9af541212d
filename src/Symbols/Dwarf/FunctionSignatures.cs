// Parameters of functions: DWARF 5, sections 3.3.1 (subprograms), 4.1 (formal parameters) and chapter 5 (types). Out-of-line copies of functions that
// were inlined elsewhere have nameless parameters that refer to the abstract ones (DW_AT_abstract_origin).
using System.Collections.Immutable;

namespace KTrace.Symbols.Dwarf;

/// <summary>Reads the signature of the function at an address. Opens one unit per question; answers are for the caller to keep.</summary>
internal sealed class FunctionSignatures(DwarfSections sections, UnitIndex units)
{
    private const int MaximumDepth = 12;
    private const int MaximumParameters = 64;

    private const int EncodingBoolean = 2, EncodingSigned = 5, EncodingSignedChar = 6, EncodingUnsigned = 7, EncodingUnsignedChar = 8;

    /// <summary>The signature of the function whose first instruction is at <paramref name="entry"/>; null when DWARF has none there.</summary>
    /// <exception cref="MalformedFileException">The unit is damaged.</exception>
    public FunctionSignature? TryFind(ulong entry)
    {
        var offset = units.Find(entry, withLines: false);
        if (offset < 0)
        {
            return null;
        }

        var unit = new Unit(sections, new UnitFinder(sections, units).Find);
        unit.Load(offset);
        return Find(unit, entry);
    }

    private unsafe FunctionSignature? Find(Unit unit, ulong entry)
    {
        if (!unit.HasChildren)
        {
            return null;
        }

        var ranges = new GrowingArray<AddressRange>();
        fixed (byte* bytes = sections.Info.Span)
        {
            var reader = new DieReader(unit, bytes, unit.FirstChild);
            while (!reader.AtEnd && reader.ReadEntry())
            {
                if (reader.Entry.Tag != DwTag.Subprogram)
                {
                    reader.SkipTree();
                    continue;
                }

                ulong? low = null;
                long origin = 0, type = 0;
                var hasChildren = reader.Entry.HasChildren;
                ranges.Clear();
                for (var i = 0; i < reader.AttributeCount; i++)
                {
                    ref readonly var attribute = ref reader.Attribute(i);
                    switch (attribute.Name)
                    {
                        case DwAt.LowPc or DwAt.EntryPc:
                            low ??= reader.ReadNumber(in attribute);
                            break;
                        case DwAt.Ranges:
                            unit.ReadRanges(ref reader, in attribute, ranges);
                            break;
                        case DwAt.AbstractOrigin or DwAt.Specification:
                            origin = reader.ReadReference(in attribute);
                            break;
                        case DwAt.Type:
                            type = reader.ReadReference(in attribute);
                            break;
                        default:
                            reader.Skip(in attribute);
                            break;
                    }
                }

                var isHere = low == entry;
                for (var i = 0; i < ranges.Count; i++)
                {
                    isHere |= ranges[i].Low == entry;
                }

                if (isHere)
                {
                    return ReadChildren(unit, ref reader, hasChildren, type != 0 ? type : TypeOf(unit, origin, 0));
                }

                if (hasChildren)
                {
                    reader.SkipChildren();
                }
            }
        }

        return null;
    }

    private FunctionSignature ReadChildren(Unit unit, ref DieReader reader, bool hasChildren, long returnType)
    {
        var parameters = ImmutableArray.CreateBuilder<FunctionParameter>();
        var isVariadic = false;
        while (hasChildren && !reader.AtEnd && reader.ReadEntry() && parameters.Count < MaximumParameters)
        {
            if (reader.Entry.Tag != DwTag.FormalParameter)
            {
                isVariadic |= reader.Entry.Tag == DwTag.UnspecifiedParameters;
                reader.SkipTree();
                continue;
            }

            var declaration = ReadDeclaration(ref reader);
            var (name, type) = Resolve(unit, declaration, 0);
            var shape = ShapeOf(unit, type, 0);
            parameters.Add(new FunctionParameter(name, shape.Text, shape.Kind, shape.Size));
        }

        return new FunctionSignature(parameters.ToImmutable(), returnType > 0 && ShapeOf(unit, returnType, 0).Kind == ParameterKind.Other, isVariadic);
    }

    private readonly record struct Declaration(string Name, long Type, long Origin);

    private readonly record struct Shape(string Text, ParameterKind Kind, int Size);

    private Declaration ReadDeclaration(ref DieReader reader)
    {
        var name = "";
        long type = 0, origin = 0;
        for (var i = 0; i < reader.AttributeCount; i++)
        {
            ref readonly var attribute = ref reader.Attribute(i);
            switch (attribute.Name)
            {
                case DwAt.Name:
                    name = reader.ReadString(in attribute) is { IsNone: false } text ? sections.Text(text) : "";
                    break;
                case DwAt.Type:
                    type = reader.ReadReference(in attribute);
                    break;
                case DwAt.AbstractOrigin or DwAt.Specification:
                    origin = reader.ReadReference(in attribute);
                    break;
                default:
                    reader.Skip(in attribute);
                    break;
            }
        }

        return new Declaration(name, type, origin);
    }

    private unsafe Declaration DeclarationAt(Unit unit, long entry)
    {
        if (entry <= 0 || unit.Holding(entry) is not { } holder)
        {
            return default;
        }

        fixed (byte* bytes = sections.Info.Span)
        {
            var reader = new DieReader(holder, bytes, (int)entry);
            return reader.ReadEntry() ? ReadDeclaration(ref reader) : default;
        }
    }

    private (string Name, long Type) Resolve(Unit unit, Declaration declaration, int depth)
    {
        if (declaration.Origin <= 0 || depth > MaximumDepth)
        {
            return (declaration.Name ?? "", declaration.Type);
        }

        var (name, type) = Resolve(unit, DeclarationAt(unit, declaration.Origin), depth + 1);
        return (string.IsNullOrEmpty(declaration.Name) ? name : declaration.Name, declaration.Type != 0 ? declaration.Type : type);
    }

    private long TypeOf(Unit unit, long entry, int depth)
    {
        var declaration = DeclarationAt(unit, entry);
        return declaration.Type != 0 || declaration.Origin <= 0 || depth > MaximumDepth ? declaration.Type : TypeOf(unit, declaration.Origin, depth + 1);
    }

    private unsafe Shape ShapeOf(Unit unit, long entry, int depth)
    {
        if (entry <= 0)
        {
            return new Shape("void", ParameterKind.Other, 0);
        }

        if (depth > MaximumDepth || unit.Holding(entry) is not { } holder)
        {
            return new Shape("?", ParameterKind.Other, 0);
        }

        fixed (byte* bytes = sections.Info.Span)
        {
            var reader = new DieReader(holder, bytes, (int)entry);
            if (!reader.ReadEntry())
            {
                return new Shape("?", ParameterKind.Other, 0);
            }

            var tag = reader.Entry.Tag;
            var name = "";
            long type = 0;
            int size = 0, encoding = 0;
            for (var i = 0; i < reader.AttributeCount; i++)
            {
                ref readonly var attribute = ref reader.Attribute(i);
                switch (attribute.Name)
                {
                    case DwAt.Name:
                        name = reader.ReadString(in attribute) is { IsNone: false } text ? sections.Text(text) : "";
                        break;
                    case DwAt.Type:
                        type = reader.ReadReference(in attribute);
                        break;
                    case DwAt.ByteSize:
                        size = (int)Math.Min(reader.ReadNumber(in attribute), int.MaxValue);
                        break;
                    case DwAt.Encoding:
                        encoding = (int)reader.ReadNumber(in attribute);
                        break;
                    default:
                        reader.Skip(in attribute);
                        break;
                }
            }

            return Compose(holder, tag, name, type, size, encoding, depth);
        }
    }

    private Shape Compose(Unit unit, ushort tag, string name, long type, int size, int encoding, int depth)
    {
        switch (tag)
        {
            case DwTag.BaseType:
                return new Shape(name, encoding switch
                {
                    EncodingSigned or EncodingSignedChar => ParameterKind.Signed,
                    EncodingBoolean or EncodingUnsigned or EncodingUnsignedChar => ParameterKind.Unsigned,
                    _ => ParameterKind.Other,
                }, size);
            case DwTag.PointerType:
                var target = ShapeOf(unit, type, depth + 1);
                var isText = target is { Size: 1, Kind: ParameterKind.Signed or ParameterKind.Unsigned } && target.Text.EndsWith("char", StringComparison.Ordinal);
                return new Shape(target.Text.EndsWith('*') ? target.Text + "*" : target.Text + " *", isText ? ParameterKind.Text : ParameterKind.Pointer, size == 0 ? sections.AddressSize : size);
            case DwTag.Typedef:
                return ShapeOf(unit, type, depth + 1) with { Text = name };
            case DwTag.ConstType or DwTag.VolatileType or DwTag.RestrictType:
                var qualified = ShapeOf(unit, type, depth + 1);
                var word = tag == DwTag.ConstType ? "const" : tag == DwTag.VolatileType ? "volatile" : "restrict";
                return qualified with { Text = qualified.Text.EndsWith('*') ? $"{qualified.Text} {word}" : $"{word} {qualified.Text}" };
            case DwTag.EnumerationType:
                return new Shape("enum " + name, ParameterKind.Signed, size);
            case DwTag.StructureType:
                return new Shape("struct " + name, ParameterKind.Other, size);
            case DwTag.UnionType:
                return new Shape("union " + name, ParameterKind.Other, size);
            case DwTag.SubroutineType:
                return new Shape("function", ParameterKind.Other, 0);
            default:
                return new Shape(name.Length == 0 ? "?" : name, ParameterKind.Other, size);
        }
    }
}
