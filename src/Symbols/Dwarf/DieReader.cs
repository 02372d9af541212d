// Walking DIEs: DWARF 5, sections 2.3 and 7.5. This is the hottest loop of the reader: a batch over a kernel passes 174 MB through it, so
// it works on raw bytes with its own bounds checks, allocates nothing, and jumps over what nobody asked for with DW_AT_sibling (GCC writes it
// on every DIE with children that has a sibling) or with the sizes that AbbreviationTable computed before.
using System.Runtime.CompilerServices;

namespace KTrace.Symbols.Dwarf;

/// <summary>A cursor over the DIEs of one unit. Lives inside one <c>fixed</c> statement over .debug_info.</summary>
internal unsafe ref struct DieReader
{
    private readonly Unit _unit;
    private readonly byte* _bytes;
    private readonly int _end;
    private readonly Abbreviation[] _byCode;
    private readonly int _codeLimit;
    private readonly AttributeSpecification[] _attributes;
    private ref Abbreviation _entry;

    /// <param name="unit">Whose abbreviations and bases apply.</param>
    /// <param name="bytes">Start of .debug_info, fixed.</param>
    /// <param name="position">Offset of a DIE inside the unit.</param>
    public DieReader(Unit unit, byte* bytes, int position)
    {
        _unit = unit;
        _bytes = bytes;
        _end = unit.Header.End;
        _byCode = unit.Abbreviations.ByCode;
        _codeLimit = unit.Abbreviations.CodeLimit;
        _attributes = unit.Abbreviations.AttributeArray;
        Position = position;
        if (position < unit.Header.FirstEntry || position > _end)
        {
            throw unit.Malformed(position, $"a DIE outside its unit [0x{unit.Header.FirstEntry:x}, 0x{_end:x})");
        }
    }

    /// <summary>The next byte to read, from the section's start.</summary>
    public int Position;

    /// <summary>Where the current DIE starts.</summary>
    public int EntryOffset;

    /// <summary>The current DIE's abbreviation; valid after <see cref="ReadEntry"/> returned true.</summary>
    public readonly ref readonly Abbreviation Entry => ref _entry;

    public readonly bool AtEnd => Position >= _end;

    public readonly int AttributeCount => _entry.AttributeCount;

    /// <summary>Attribute <paramref name="index"/> of the current DIE; the values follow in this order.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly ref readonly AttributeSpecification Attribute(int index) => ref _attributes[_entry.FirstAttribute + index];

    /// <summary>Reads a DIE's abbreviation code. False for the null entry that ends a list of siblings.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool ReadEntry()
    {
        EntryOffset = Position;
        if (Position >= _end)
        {
            ThrowEnd();
        }

        ulong code = _bytes[Position];
        if (code < 0x80)
        {
            Position++;
        }
        else
        {
            code = ReadUleb128();
        }

        if (code == 0)
        {
            return false;
        }

        if (code < (ulong)_codeLimit)
        {
            _entry = ref _byCode[code];
        }
        else
        {
            _entry = ref new[] { _unit.Abbreviations.Sparse(code) }[0];
        }

        if (_entry.Tag == 0)
        {
            ThrowUndefined(code);
        }

        return true;
    }

    /// <summary>Goes on to the current DIE's first child, or to the next DIE when it has no children. Call before any attribute was read.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void SkipAttributes()
    {
        var size = _entry.FixedSize;
        if (size >= 0)
        {
            if (size > _end - Position)
            {
                ThrowEnd();
            }

            Position += size;
        }
        else
        {
            SkipEachAttribute();
        }
    }

    /// <summary>Goes on behind the current DIE and all its children. Call before any attribute was read.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void SkipTree()
    {
        if (!_entry.HasChildren)
        {
            SkipAttributes();
        }
        else if (_entry.SiblingOffset >= 0 && _entry.SiblingOffset <= _end - Position - 4)
        {
            JumpTo(_unit.Header.Offset + (long)Unsafe.ReadUnaligned<uint>(_bytes + Position + _entry.SiblingOffset));
        }
        else
        {
            SkipTreeSlowly();
        }
    }

    /// <summary>Goes on behind all children of the DIE whose attributes were just passed.</summary>
    public void SkipChildren()
    {
        for (var depth = 1; depth > 0;)
        {
            if (!ReadEntry())
            {
                depth--;
            }
            else if (_entry.HasChildren && _entry.SiblingOffset < 0)
            {
                SkipAttributes();
                depth++;
            }
            else
            {
                SkipTree();
            }
        }
    }

    /// <summary>A jump to a DW_AT_sibling. It must lead forward, or a walk might never end.</summary>
    public void JumpTo(long target)
    {
        if (target <= EntryOffset || target > _end)
        {
            throw _unit.Malformed(EntryOffset, $"DW_AT_sibling 0x{target:x}, which does not lead forward inside the unit");
        }

        Position = (int)target;
    }

    /// <summary>A constant, flag, address or section offset as a number (signed ones sign-extended); indexed addresses are looked up.</summary>
    public ulong ReadNumber(in AttributeSpecification attribute)
    {
        switch (attribute.Form)
        {
            case DwForm.Data1 or DwForm.Flag or DwForm.Ref1 or DwForm.Strx1:
                return *Take(1);
            case DwForm.Data2 or DwForm.Ref2 or DwForm.Strx2:
                return Unsafe.ReadUnaligned<ushort>(Take(2));
            case DwForm.Strx3:
                var three = Take(3);
                return (ulong)(three[0] | (three[1] << 8) | (three[2] << 16));
            case DwForm.Data4 or DwForm.Ref4 or DwForm.Strx4:
                return Unsafe.ReadUnaligned<uint>(Take(4));
            case DwForm.Data8 or DwForm.Ref8:
                return Unsafe.ReadUnaligned<ulong>(Take(8));
            case DwForm.Udata or DwForm.RefUdata or DwForm.Strx or DwForm.Rnglistx or DwForm.Loclistx or DwForm.GnuStrIndex:
                return ReadUleb128();
            case DwForm.Sdata:
                return (ulong)ReadSleb128();
            case DwForm.FlagPresent:
                return 1;
            case DwForm.ImplicitConst:
                return (ulong)attribute.ImplicitConstant;
            case DwForm.Addr:
                return _unit.Header.AddressSize == 8 ? Unsafe.ReadUnaligned<ulong>(Take(8)) : Unsafe.ReadUnaligned<uint>(Take(4));
            case DwForm.SecOffset or DwForm.Strp or DwForm.LineStrp:
                return ReadOffset();
            case DwForm.RefAddr:
                return _unit.Header.Version <= 2 && _unit.Header.AddressSize == 8 ? Unsafe.ReadUnaligned<ulong>(Take(8)) : ReadOffset();
            case DwForm.Addrx or DwForm.GnuAddrIndex:
                return _unit.AddressAt(ReadUleb128());
            case DwForm.Addrx1:
                return _unit.AddressAt(*Take(1));
            case DwForm.Addrx2:
                return _unit.AddressAt(Unsafe.ReadUnaligned<ushort>(Take(2)));
            case DwForm.Addrx3:
                var index = Take(3);
                return _unit.AddressAt((ulong)(index[0] | (index[1] << 8) | (index[2] << 16)));
            case DwForm.Addrx4:
                return _unit.AddressAt(Unsafe.ReadUnaligned<uint>(Take(4)));
            case DwForm.Indirect:
                return ReadNumber(ReadIndirect(in attribute));
            default:
                throw _unit.Malformed(Position, $"form 0x{attribute.Form:x} where a number is expected");
        }
    }

    /// <summary>A reference as a .debug_info offset; -1 for one into a type unit or a supplementary file. Not checked against the section.</summary>
    public long ReadReference(in AttributeSpecification attribute)
    {
        switch (attribute.Form)
        {
            case DwForm.Ref4:
                return _unit.Header.Offset + (long)Unsafe.ReadUnaligned<uint>(Take(4));
            case DwForm.Ref1 or DwForm.Ref2 or DwForm.Ref8 or DwForm.RefUdata:
                return ReadNumber(in attribute) is var relative && relative > int.MaxValue ? -1 : _unit.Header.Offset + (long)relative;
            case DwForm.RefAddr:
                return ReadNumber(in attribute) is var absolute && absolute > int.MaxValue ? -1 : (long)absolute;
            case DwForm.Indirect:
                return ReadReference(ReadIndirect(in attribute));
            default:
                Skip(in attribute);
                return -1;
        }
    }

    /// <summary>Where a string stands; "none" when it is no string form or the string is in a supplementary file.</summary>
    public StringReference ReadString(in AttributeSpecification attribute)
    {
        switch (attribute.Form)
        {
            case DwForm.Strp:
                return Reference(StringSection.Str, ReadOffset());
            case DwForm.LineStrp:
                return Reference(StringSection.LineStr, ReadOffset());
            case DwForm.String:
                var start = Position;
                Skip(in attribute);
                return new StringReference(StringSection.Info, start);
            case DwForm.Strx or DwForm.Strx1 or DwForm.Strx2 or DwForm.Strx3 or DwForm.Strx4 or DwForm.GnuStrIndex:
                return _unit.StringAt(ReadNumber(in attribute));
            case DwForm.Indirect:
                return ReadString(ReadIndirect(in attribute));
            default:
                Skip(in attribute);
                return default;
        }
    }

    /// <summary>An expression or block; empty when the form is neither.</summary>
    public ReadOnlySpan<byte> ReadBlock(in AttributeSpecification attribute)
    {
        ulong length;
        switch (attribute.Form)
        {
            case DwForm.Exprloc or DwForm.Block:
                length = ReadUleb128();
                break;
            case DwForm.Block1:
                length = *Take(1);
                break;
            case DwForm.Block2:
                length = Unsafe.ReadUnaligned<ushort>(Take(2));
                break;
            case DwForm.Block4:
                length = Unsafe.ReadUnaligned<uint>(Take(4));
                break;
            default:
                Skip(in attribute);
                return default;
        }

        return new ReadOnlySpan<byte>(TakeLong(length), (int)length);
    }

    /// <summary>Passes an attribute of any form.</summary>
    public void Skip(in AttributeSpecification attribute)
    {
        switch (attribute.Form)
        {
            case DwForm.Exprloc or DwForm.Block:
                TakeLong(ReadUleb128());
                break;
            case DwForm.Block1:
                TakeLong(*Take(1));
                break;
            case DwForm.Block2:
                TakeLong(Unsafe.ReadUnaligned<ushort>(Take(2)));
                break;
            case DwForm.Block4:
                TakeLong(Unsafe.ReadUnaligned<uint>(Take(4)));
                break;
            case DwForm.String:
                while (*Take(1) != 0)
                {
                }

                break;
            case DwForm.Udata or DwForm.Sdata or DwForm.RefUdata or DwForm.Strx or DwForm.Addrx or DwForm.Loclistx or DwForm.Rnglistx
                or DwForm.GnuAddrIndex or DwForm.GnuStrIndex:
                while (*Take(1) >= 0x80)
                {
                }

                break;
            case DwForm.Indirect:
                Skip(ReadIndirect(in attribute));
                break;
            default:
                Take(AttributeForm.FixedSize(attribute.Form, _unit.Header.AddressSize, _unit.Header.OffsetSize, _unit.Header.Version));
                break;
        }
    }

    private static StringReference Reference(StringSection section, ulong offset) =>
        offset > int.MaxValue ? default : new StringReference(section, (int)offset);

    private void SkipEachAttribute()
    {
        ref var first = ref _attributes[_entry.FirstAttribute];
        for (var i = 0; i < _entry.AttributeCount; i++)
        {
            Skip(in Unsafe.Add(ref first, i));
        }
    }

    private void SkipTreeSlowly()
    {
        for (var i = 0; i < AttributeCount; i++)
        {
            ref readonly var attribute = ref Attribute(i);
            if (attribute.Name == DwAt.Sibling && AttributeForm.IsReference(attribute.Form))
            {
                JumpTo(ReadReference(in attribute));
                return;
            }

            Skip(in attribute);
        }

        SkipChildren();
    }

    // DW_FORM_indirect (section 7.5.3): the form itself stands in .debug_info. implicit_const cannot, as its value is in the abbreviation.
    private AttributeSpecification ReadIndirect(in AttributeSpecification attribute)
    {
        var form = ReadUleb128();
        if (form is DwForm.Indirect or DwForm.ImplicitConst
            || AttributeForm.FixedSize(form, _unit.Header.AddressSize, _unit.Header.OffsetSize, _unit.Header.Version) == AttributeForm.Unknown)
        {
            throw _unit.Malformed(Position, $"DW_FORM_indirect to form 0x{form:x}");
        }

        return new AttributeSpecification(attribute.Name, (ushort)form, 0);
    }

    private ulong ReadOffset() =>
        _unit.Header.OffsetSize == 4 ? Unsafe.ReadUnaligned<uint>(Take(4)) : Unsafe.ReadUnaligned<ulong>(Take(8));

    private ulong ReadUleb128()
    {
        ulong value = 0;
        for (var shift = 0; ; shift += 7)
        {
            ulong b = *Take(1);
            if (shift < 64)
            {
                value |= (b & 0x7f) << shift;
            }

            if (b < 0x80)
            {
                return value;
            }
        }
    }

    private long ReadSleb128()
    {
        long value = 0;
        for (var shift = 0; ; shift += 7)
        {
            long b = *Take(1);
            if (shift < 64)
            {
                value |= (b & 0x7f) << shift;
            }

            if (b < 0x80)
            {
                return shift + 7 < 64 && (b & 0x40) != 0 ? value | (-1L << (shift + 7)) : value;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private byte* Take(int count)
    {
        if (count > _end - Position)
        {
            ThrowEnd();
        }

        var at = _bytes + Position;
        Position += count;
        return at;
    }

    private byte* TakeLong(ulong count)
    {
        if (count > (ulong)(_end - Position))
        {
            ThrowEnd();
        }

        return Take((int)count);
    }

    private readonly void ThrowEnd() => throw _unit.Malformed(Position, $"a DIE that runs over its unit's end (0x{_end:x})");

    private readonly void ThrowUndefined(ulong code) => throw _unit.Malformed(EntryOffset, $"abbreviation code {code}, which its table does not define");
}
