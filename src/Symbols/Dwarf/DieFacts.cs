namespace KTrace.Symbols.Dwarf;

/// <summary>The attributes of one DIE that declarations and types are described by. For rare questions; walks over many DIEs use <see cref="DieReader"/>.</summary>
internal struct DieFacts
{
    // abstract_origin and specification chains are two or three long; a cycle ends here.
    private const int MaximumOrigins = 8;

    /// <summary>The unit that the DIE stands in.</summary>
    public Unit Unit;
    public int Entry;
    public ushort Tag;
    public bool HasChildren;

    /// <summary>Where the first child starts, if there is one.</summary>
    public int FirstChild;
    public StringReference Name;

    /// <summary>DW_AT_type, bytes from the start of .debug_info; -1 for void.</summary>
    public long Type;

    /// <summary>DW_AT_abstract_origin or DW_AT_specification, or -1.</summary>
    public long Origin;

    /// <summary>DW_AT_decl_file, or -1.</summary>
    public int DeclFile;

    /// <summary>The unit whose line table <see cref="DeclFile"/> counts in.</summary>
    public Unit? DeclUnit;
    public int DeclLine;
    public bool IsDeclaration;

    /// <summary>Bytes, or -1.</summary>
    public long ByteSize;

    /// <summary>DW_AT_encoding of a base type; 0 otherwise.</summary>
    public int Encoding;

    /// <summary>DW_AT_data_member_location in bytes, or of a bit field the byte in which it starts; -1 when there is none (a union's members).</summary>
    public long MemberOffset;

    /// <summary>DW_AT_upper_bound + 1 or DW_AT_count; -1 when unknown, as for a flexible array member.</summary>
    public long Count;

    /// <summary>Reads a DIE. False when the offset leads into no unit of this file, or to a null entry.</summary>
    public static unsafe bool TryRead(Unit from, long entry, out DieFacts facts)
    {
        facts = default;
        if (from.Holding(entry) is not { } unit)
        {
            return false;
        }

        facts = new DieFacts
        {
            Unit = unit, Entry = (int)entry, Type = -1, Origin = -1, DeclFile = -1, ByteSize = -1, MemberOffset = -1, Count = -1,
        };
        fixed (byte* bytes = unit.Sections.Info.Span)
        {
            var reader = new DieReader(unit, bytes, (int)entry);
            if (!reader.ReadEntry())
            {
                return false;
            }

            facts.Tag = reader.Entry.Tag;
            facts.HasChildren = reader.Entry.HasChildren;
            for (var i = 0; i < reader.AttributeCount; i++)
            {
                facts.Read(ref reader, in reader.Attribute(i));
            }

            facts.FirstChild = reader.Position;
        }

        return true;
    }

    /// <summary>The same, with what the DIE leaves to its abstract origin or specification filled in.</summary>
    public static bool TryReadWithOrigin(Unit from, long entry, out DieFacts facts)
    {
        if (!TryRead(from, entry, out facts))
        {
            return false;
        }

        var origin = facts.Origin;
        var unit = facts.Unit;
        for (var depth = 0; origin >= 0 && depth < MaximumOrigins && TryRead(unit, origin, out var original); depth++)
        {
            facts.Name = facts.Name.IsNone ? original.Name : facts.Name;
            facts.Type = facts.Type < 0 ? original.Type : facts.Type;
            if (facts.DeclFile < 0)
            {
                (facts.DeclFile, facts.DeclUnit) = (original.DeclFile, original.DeclUnit);
            }

            facts.DeclLine = facts.DeclLine == 0 ? original.DeclLine : facts.DeclLine;
            (origin, unit) = (original.Origin, original.Unit);
        }

        return true;
    }

    private void Read(ref DieReader reader, in AttributeSpecification attribute)
    {
        switch (attribute.Name)
        {
            case DwAt.Name:
                Name = reader.ReadString(in attribute);
                break;
            case DwAt.Type:
                Type = reader.ReadReference(in attribute);
                break;
            case DwAt.AbstractOrigin or DwAt.Specification:
                Origin = reader.ReadReference(in attribute);
                break;
            case DwAt.DeclFile when AttributeForm.IsConstant(attribute.Form):
                DeclFile = (int)Math.Min(reader.ReadNumber(in attribute), int.MaxValue);
                DeclUnit = Unit;
                break;
            case DwAt.DeclLine when AttributeForm.IsConstant(attribute.Form):
                DeclLine = (int)Math.Min(reader.ReadNumber(in attribute), int.MaxValue);
                break;
            case DwAt.Declaration:
                IsDeclaration = reader.ReadNumber(in attribute) != 0;
                break;
            case DwAt.Encoding when AttributeForm.IsConstant(attribute.Form):
                Encoding = (int)Math.Min(reader.ReadNumber(in attribute), int.MaxValue);
                break;
            case DwAt.ByteSize when AttributeForm.IsConstant(attribute.Form):
                ByteSize = (long)reader.ReadNumber(in attribute);
                break;
            case DwAt.DataMemberLocation when AttributeForm.IsConstant(attribute.Form):
                MemberOffset = (long)reader.ReadNumber(in attribute);
                break;
            case DwAt.DataMemberLocation when AttributeForm.IsBlock(attribute.Form):
                // DWARF 2: DW_OP_plus_uconst and the offset.
                MemberOffset = ReadPlusUconst(reader.ReadBlock(in attribute));
                break;
            case DwAt.DataBitOffset when AttributeForm.IsConstant(attribute.Form):
                MemberOffset = (long)reader.ReadNumber(in attribute) / 8;
                break;
            case DwAt.UpperBound when AttributeForm.IsConstant(attribute.Form):
                Count = (long)reader.ReadNumber(in attribute) + 1;
                break;
            case DwAt.Count when AttributeForm.IsConstant(attribute.Form):
                Count = (long)reader.ReadNumber(in attribute);
                break;
            default:
                reader.Skip(in attribute);
                break;
        }
    }

    private static long ReadPlusUconst(ReadOnlySpan<byte> expression)
    {
        if (expression.Length < 2 || expression[0] != DwOp.PlusUconst)
        {
            return -1;
        }

        long value = 0;
        for (var i = 1; i < expression.Length && i < 6; i++)
        {
            value |= (long)(expression[i] & 0x7f) << (7 * (i - 1));
        }

        return value;
    }
}
