// The attributes that make a type: DWARF 5, chapter 5, with what DWARF 2 to 4 had instead. Bit fields: GCC writes DW_AT_data_bit_offset from DWARF 5 on and clang
// from DWARF 4 on; before, DW_AT_bit_offset counts from the most significant bit of a storage unit of DW_AT_byte_size bytes (DWARF 3, section 5.5.6).
namespace KTrace.Symbols.Dwarf;

/// <summary>One DIE of a type, a member, an enumerator, a parameter or a dimension, as it stands.</summary>
internal struct TypeDie
{
    public ushort Tag;
    public int Entry;
    public StringReference Name;

    /// <summary>DW_AT_type, from the start of .debug_info; -1 for void and for what is in another file.</summary>
    public long Type;

    /// <summary>DW_AT_abstract_origin or DW_AT_specification; -1 for none.</summary>
    public long Origin;

    /// <summary>DW_AT_signature: of the type unit that has the definition; 0 for none.</summary>
    public ulong Signature;

    /// <summary>DW_AT_type where it is a type unit's signature; 0 otherwise.</summary>
    public ulong TypeSignature;

    public bool IsDeclaration;

    /// <summary>Bytes; -1 when not said.</summary>
    public long ByteSize;

    /// <summary>DW_AT_bit_size; -1 when not said.</summary>
    public long BitSize;

    /// <summary>DW_AT_bit_offset, as DWARF 2 and 3 count. Negative where a packed field reaches over its storage unit.</summary>
    public long OldBitOffset;
    public bool HasOldBitOffset;

    /// <summary>DW_AT_data_bit_offset; -1 when not said.</summary>
    public long DataBitOffset;

    /// <summary>DW_AT_data_member_location in bytes; -1 when not said (a union's members).</summary>
    public long MemberLocation;

    /// <summary>DW_ATE_*; 0 when not said.</summary>
    public int Encoding;

    /// <summary>Elements of a dimension; -1 when there is no bound, or none that is a constant.</summary>
    public long Count;

    /// <summary>DW_AT_const_value.</summary>
    public long Value;

    /// <summary>Its form has a sign (DW_FORM_sdata), and so has the value.</summary>
    public bool ValueIsSigned;

    /// <summary>Reads the current DIE of <paramref name="reader"/> and leaves it behind its attributes.</summary>
    public static TypeDie Read(ref DieReader reader, Unit unit)
    {
        var die = new TypeDie
        {
            Tag = reader.Entry.Tag, Entry = reader.EntryOffset, Type = -1, Origin = -1, ByteSize = -1, BitSize = -1, DataBitOffset = -1,
            MemberLocation = -1, Count = -1,
        };
        for (var i = 0; i < reader.AttributeCount; i++)
        {
            die.Read(ref reader, in reader.Attribute(i), unit);
        }

        return die;
    }

    private void Read(ref DieReader reader, in AttributeSpecification attribute, Unit unit)
    {
        var isConstant = AttributeForm.IsConstant(attribute.Form);
        switch (attribute.Name)
        {
            case DwAt.Name:
                Name = reader.ReadString(in attribute);
                break;
            case DwAt.Type when attribute.Form == DwForm.RefSig8:
                TypeSignature = ReadSignature(ref reader, in attribute, unit);
                break;
            case DwAt.Type:
                Type = reader.ReadReference(in attribute);
                break;
            case DwAt.Signature when attribute.Form == DwForm.RefSig8:
                Signature = ReadSignature(ref reader, in attribute, unit);
                break;
            case DwAt.AbstractOrigin or DwAt.Specification:
                Origin = reader.ReadReference(in attribute);
                break;
            case DwAt.Declaration when isConstant:
                IsDeclaration = reader.ReadNumber(in attribute) != 0;
                break;
            case DwAt.ByteSize when isConstant:
                ByteSize = ReadSize(ref reader, in attribute);
                break;
            case DwAt.BitSize when isConstant:
                BitSize = ReadSize(ref reader, in attribute);
                break;
            case DwAt.BitOffset when isConstant:
                OldBitOffset = SignExtend(reader.ReadNumber(in attribute), attribute.Form);
                HasOldBitOffset = true;
                break;
            case DwAt.DataBitOffset when isConstant:
                DataBitOffset = ReadSize(ref reader, in attribute);
                break;
            case DwAt.DataMemberLocation when isConstant:
                MemberLocation = ReadSize(ref reader, in attribute);
                break;
            case DwAt.DataMemberLocation when AttributeForm.IsBlock(attribute.Form):
                // DWARF 2: DW_OP_plus_uconst and the offset.
                MemberLocation = ReadPlusUconst(reader.ReadBlock(in attribute));
                break;
            case DwAt.Encoding when isConstant:
                Encoding = (int)Math.Min(reader.ReadNumber(in attribute), int.MaxValue);
                break;
            case DwAt.Count when isConstant:
                Count = ReadSize(ref reader, in attribute);
                break;
            case DwAt.UpperBound when isConstant:
                // GCC before 5 writes an upper bound of -1 for [0], in 4 or 8 bytes; 2^32 elements are no array.
                var bound = reader.ReadNumber(in attribute);
                Count = bound == uint.MaxValue ? 0 : Clamp((long)bound + 1);
                break;
            case DwAt.ConstValue when isConstant:
                ValueIsSigned = attribute.Form is DwForm.Sdata or DwForm.ImplicitConst;
                Value = (long)reader.ReadNumber(in attribute);
                break;
            default:
                reader.Skip(in attribute);
                break;
        }
    }

    // No object is larger, and sums of two still fit.
    private static long Clamp(long value) => Math.Clamp(value, 0, 1L << 60);

    private static long ReadSize(ref DieReader reader, in AttributeSpecification attribute) => Clamp((long)reader.ReadNumber(in attribute));

    private static long SignExtend(ulong value, ushort form) => form switch
    {
        DwForm.Data1 => (sbyte)value,
        DwForm.Data2 => (short)value,
        DwForm.Data4 => (int)value,
        _ => (long)value,
    };

    private static ulong ReadSignature(ref DieReader reader, in AttributeSpecification attribute, Unit unit)
    {
        var at = reader.Position;
        reader.Skip(in attribute);
        return System.Buffers.Binary.BinaryPrimitives.ReadUInt64LittleEndian(unit.Sections.Info.Span[at..]);
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
