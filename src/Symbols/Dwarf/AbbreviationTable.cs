// Abbreviations: DWARF 5, section 7.5.3. GCC numbers them densely from 1 but writes them in any order; a vmlinux has one table per unit,
// so a batch over all units reads 5 MB of them, which is why one table object is filled again and again.
using System.Runtime.CompilerServices;

namespace KTrace.Symbols.Dwarf;

/// <summary>One attribute of an abbreviation.</summary>
internal readonly record struct AttributeSpecification(ushort Name, ushort Form, long ImplicitConstant);

/// <summary>The shape of a DIE. A <see cref="Tag"/> of 0 marks a code that the table does not define.</summary>
internal struct Abbreviation
{
    public ushort Tag;
    public bool HasChildren;

    /// <summary>It has DW_AT_low_pc or DW_AT_ranges, so it may have code.</summary>
    public bool HasCode;

    /// <summary>All attributes together take this many bytes, or <see cref="AttributeForm.Variable"/>.</summary>
    public int FixedSize;

    /// <summary>DW_AT_sibling (DW_FORM_ref4) stands this many bytes after the code, or -1 when the attributes before it must be read.</summary>
    public int SiblingOffset;

    public int FirstAttribute;
    public int AttributeCount;
}

/// <summary>The abbreviations of a unit, by code.</summary>
internal sealed class AbbreviationTable
{
    // Codes up to here are an array index. The array is bounded by what the section could hold, see Load.
    private const int MaximumDenseCode = 1 << 16;

    // Far above any real DIE; it only keeps the sum from overflowing.
    private const int MaximumFixedSize = 1 << 24;

    private Abbreviation[] _byCode = new Abbreviation[256];
    private int _codeLimit;
    private AttributeSpecification[] _attributes = new AttributeSpecification[1024];
    private int _attributeCount;
    private Dictionary<ulong, Abbreviation>? _sparse;
    private readonly int[] _sizes = new int[DwForm.Addrx4 + 1];
    private int _sizesFor;
    private SectionData? _loaded;
    private (int Offset, int Sizes) _loadedKey;

    public AttributeSpecification[] AttributeArray => _attributes;

    /// <summary>Abbreviations at their code, for dense codes.</summary>
    public Abbreviation[] ByCode => _byCode;

    /// <summary>Codes below this are in <see cref="ByCode"/>.</summary>
    public int CodeLimit => _codeLimit;

    /// <summary>An abbreviation whose code is too large for <see cref="ByCode"/>; its Tag is 0 when there is none.</summary>
    public Abbreviation Sparse(ulong code) => _sparse is not null && _sparse.TryGetValue(code, out var found) ? found : default;

    /// <summary>Reads the table at <paramref name="offset"/>; what was there before is forgotten. Nothing is read when it is the same table.</summary>
    public unsafe void Load(SectionData section, int offset, int addressSize, int offsetSize, int version)
    {
        var sizes = (version << 16) | (offsetSize << 8) | addressSize;
        if (_loaded == section && _loadedKey.Offset == offset && _loadedKey.Sizes == sizes)
        {
            return;
        }

        _loaded = null;
        Array.Clear(_byCode, 0, _codeLimit);
        _codeLimit = 0;
        _attributeCount = 0;
        _sparse = null;
        if ((uint)offset >= (uint)section.Length)
        {
            throw section.Malformed(offset, $"an abbreviation table outside the section (size 0x{section.Length:x})");
        }

        if (_sizesFor != sizes)
        {
            for (var form = 0; form < _sizes.Length; form++)
            {
                _sizes[form] = AttributeForm.FixedSize((ulong)form, addressSize, offsetSize, version);
            }

            _sizesFor = sizes;
        }

        fixed (byte* bytes = section.Span)
        {
            Read(section, bytes, offset, addressSize, offsetSize, version);
        }

        _loaded = section;
        _loadedKey = (offset, sizes);
    }

    private unsafe void Read(SectionData section, byte* bytes, int position, int addressSize, int offsetSize, int version)
    {
        var end = section.Length;
        while (position < end)
        {
            var start = position;
            var code = Uleb(section, bytes, end, ref position);
            if (code == 0)
            {
                return;
            }

            var tag = Uleb(section, bytes, end, ref position);
            if (tag is 0 or > ushort.MaxValue || position >= end)
            {
                throw section.Malformed(start, $"an abbreviation {code} with tag 0x{tag:x}");
            }

            var abbreviation = new Abbreviation
            {
                Tag = (ushort)tag,
                HasChildren = bytes[position++] != 0,
                SiblingOffset = -1,
                FirstAttribute = _attributeCount,
            };
            var size = 0;
            while (true)
            {
                var name = Uleb(section, bytes, end, ref position);
                var form = Uleb(section, bytes, end, ref position);
                if ((name | form) == 0)
                {
                    break;
                }

                long constant = 0;
                if (form == DwForm.ImplicitConst)
                {
                    constant = Sleb(section, bytes, end, ref position);
                }

                var formSize = form < (ulong)_sizes.Length ? _sizes[form] : AttributeForm.FixedSize(form, addressSize, offsetSize, version);
                if (formSize == AttributeForm.Unknown || name > ushort.MaxValue)
                {
                    throw section.Malformed(start, $"attribute 0x{name:x} of form 0x{form:x}, which DWARF 5 does not define");
                }

                if (name == DwAt.Sibling && form == DwForm.Ref4 && size >= 0)
                {
                    abbreviation.SiblingOffset = size;
                }

                abbreviation.HasCode |= name is DwAt.LowPc or DwAt.Ranges;
                size = formSize < 0 || size < 0 || size > MaximumFixedSize ? AttributeForm.Variable : size + formSize;
                if (_attributeCount == _attributes.Length)
                {
                    var larger = new AttributeSpecification[_attributes.Length * 2];
                    Array.Copy(_attributes, larger, _attributeCount);
                    _attributes = larger;
                }

                _attributes[_attributeCount++] = new AttributeSpecification((ushort)name, (ushort)form, constant);
            }

            abbreviation.FixedSize = size;
            abbreviation.AttributeCount = _attributeCount - abbreviation.FirstAttribute;
            Add(code, in abbreviation);
        }
    }

    private void Add(ulong code, in Abbreviation abbreviation)
    {
        if (code >= MaximumDenseCode)
        {
            (_sparse ??= []).TryAdd(code, abbreviation);
            return;
        }

        if (code >= (ulong)_byCode.Length)
        {
            var larger = new Abbreviation[System.Numerics.BitOperations.RoundUpToPowerOf2((uint)code + 1)];
            Array.Copy(_byCode, larger, _byCode.Length);
            _byCode = larger;
        }

        if (_byCode[code].Tag == 0)
        {
            _byCode[code] = abbreviation;
            _codeLimit = Math.Max(_codeLimit, (int)code + 1);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static unsafe ulong Uleb(SectionData section, byte* bytes, int end, ref int position)
    {
        if (position < end && bytes[position] < 0x80)
        {
            return bytes[position++];
        }

        return LongUleb(section, bytes, end, ref position);
    }

    private static unsafe ulong LongUleb(SectionData section, byte* bytes, int end, ref int position)
    {
        ulong value = 0;
        for (var shift = 0; position < end && shift < 64; shift += 7)
        {
            var b = bytes[position++];
            value |= (ulong)(b & 0x7f) << shift;
            if (b < 0x80)
            {
                return value;
            }
        }

        throw section.Malformed(position, "a ULEB128 that does not end");
    }

    private static unsafe long Sleb(SectionData section, byte* bytes, int end, ref int position)
    {
        long value = 0;
        for (var shift = 0; position < end && shift < 64; shift += 7)
        {
            var b = bytes[position++];
            value |= (long)(b & 0x7f) << shift;
            if (b < 0x80)
            {
                return shift + 7 < 64 && (b & 0x40) != 0 ? value | (-1L << (shift + 7)) : value;
            }
        }

        throw section.Malformed(position, "an SLEB128 that does not end");
    }
}
