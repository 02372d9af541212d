// BTF, the kernel's own type format (Documentation/bpf/btf.rst; include/uapi/linux/btf.h, checked up to 6.12: ENUM64 is the newest kind).
// vmlinux has all its types, deduplicated by pahole, in 4.4 MB (.BTF). A module's .BTF is split: its type ids and string
// offsets go on where vmlinux' end, so it is read with vmlinux as base. (A module built out of tree since 6.11 has .BTF.base, a
// distilled base that must be relocated first; that is not done here and such a module is refused.)
// Opening makes one pass over the types to find where each begins: 4 bytes a type. Names stay bytes in the file.
using System.Buffers.Binary;

namespace KTrace.Symbols.Btf;

/// <summary>One BTF section: its types by id. Ids below <see cref="FirstId"/> belong to the base. Thread-safe.</summary>
public sealed class BtfFile
{
    private const ushort Magic = 0xeb9f;
    private const int HeaderSize = 24;

    private readonly SectionData _section;
    private readonly int _stringsStart;
    private readonly int _stringsLength;
    private readonly int _firstString;
    private readonly int[] _offsets;
    private readonly BtfKind[] _kinds;

    private BtfFile(SectionData section, BtfFile? @base, int stringsStart, int stringsLength, int[] offsets, BtfKind[] kinds)
    {
        _section = section;
        Base = @base;
        _stringsStart = stringsStart;
        _stringsLength = stringsLength;
        _firstString = @base is null ? 0 : @base._firstString + @base._stringsLength;
        FirstId = @base?.EndId ?? 1;
        _offsets = offsets;
        _kinds = kinds;
    }

    /// <summary>vmlinux' types when this is a module's, else null.</summary>
    public BtfFile? Base { get; }

    /// <summary>The first id of this section's own types: 1, or one behind the base's last.</summary>
    public int FirstId { get; }

    /// <summary>One behind the last id.</summary>
    public int EndId => FirstId + _offsets.Length;

    /// <summary>Opens the .BTF of an object; null when it has none. Throws <see cref="MalformedFileException"/>.</summary>
    /// <param name="base">vmlinux' BTF, for a module.</param>
    public static BtfFile? TryOpen(ISectionSource source, BtfFile? @base = null)
    {
        var section = source.GetSection(".BTF");
        if (section.IsEmpty)
        {
            return null;
        }

        if (!source.GetSection(".BTF.base").IsEmpty)
        {
            throw section.Malformed(0, "split BTF over a distilled base (.BTF.base), which is not supported");
        }

        return Open(section, @base);
    }

    /// <summary>Opens BTF bytes, such as those of /sys/kernel/btf/vmlinux.</summary>
    public static BtfFile Open(SectionData section, BtfFile? @base = null)
    {
        var r = section.ReaderAt(0);
        if (section.Length < HeaderSize || r.ReadU16() != Magic)
        {
            throw section.Malformed(0, "no BTF header");
        }

        var version = r.ReadU8();
        if (version != 1)
        {
            throw section.Malformed(2, $"BTF version {version}");
        }

        r.ReadU8();
        long headerLength = r.ReadU32();
        long typesOffset = r.ReadU32(), typesLength = r.ReadU32(), stringsOffset = r.ReadU32(), stringsLength = r.ReadU32();
        var (typesStart, stringsStart) = (headerLength + typesOffset, headerLength + stringsOffset);
        if (headerLength < HeaderSize || typesStart + typesLength > section.Length || stringsStart + stringsLength > section.Length)
        {
            throw section.Malformed(4, "a BTF header whose parts lie outside the section; is it truncated?");
        }

        if (stringsLength > 0 && section.Span[(int)(stringsStart + stringsLength - 1)] != 0)
        {
            throw section.Malformed(stringsStart, "BTF strings that do not end in NUL");
        }

        var (offsets, kinds) = Scan(section, (int)typesStart, (int)(typesStart + typesLength));
        return new BtfFile(section, @base, (int)stringsStart, (int)stringsLength, offsets, kinds);
    }

    /// <summary>A type by id; id 0 is void. Throws <see cref="MalformedFileException"/> for an id that does not exist.</summary>
    public BtfType TypeOf(int id)
    {
        if (id == 0)
        {
            return default;
        }

        if (id < FirstId)
        {
            return Base is null || id < 0 ? throw _section.Malformed(0, $"type id {id}") : Base.TypeOf(id);
        }

        var index = id - FirstId;
        if (index >= _offsets.Length)
        {
            throw _section.Malformed(0, $"type id {id} of {EndId - 1}");
        }

        var bytes = _section.Span.Slice(_offsets[index], 12);
        return new BtfType(
            this,
            id,
            _kinds[index],
            BinaryPrimitives.ReadInt32LittleEndian(bytes),
            BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]),
            BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]),
            _offsets[index] + 12);
    }

    /// <summary>The bytes of a string, without its NUL. Offset 0 is the empty name.</summary>
    public ReadOnlySpan<byte> StringBytes(int offset)
    {
        if (offset < _firstString)
        {
            return Base is null || offset < 0 ? throw _section.Malformed(0, $"string offset 0x{offset:x}") : Base.StringBytes(offset);
        }

        var start = offset - _firstString;
        if (start >= _stringsLength)
        {
            return offset == 0 ? [] : throw _section.Malformed(0, $"string offset 0x{offset:x} of 0x{_firstString + _stringsLength:x}");
        }

        var rest = _section.Span.Slice(_stringsStart + start, _stringsLength - start);
        return rest[..rest.IndexOf((byte)0)];
    }

    public string StringAt(int offset) => System.Text.Encoding.UTF8.GetString(StringBytes(offset));

    /// <summary>The first type of that name among the kinds, in this section and then in the base; false when there is none.</summary>
    public bool TryFind(ReadOnlySpan<byte> name, Func<BtfKind, bool> isWanted, out BtfType type)
    {
        for (var file = this; file is not null; file = file.Base)
        {
            for (var i = 0; i < file._offsets.Length; i++)
            {
                if (!isWanted(file._kinds[i]))
                {
                    continue;
                }

                var nameOffset = BinaryPrimitives.ReadInt32LittleEndian(file._section.Span[file._offsets[i]..]);
                if (nameOffset != 0 && file.StringBytesStartWith(nameOffset, name))
                {
                    type = TypeOf(file.FirstId + i);
                    return true;
                }
            }
        }

        type = default;
        return false;
    }

    /// <summary>The kind of one of this section's own types.</summary>
    internal BtfKind KindOf(int id) => _kinds[id - FirstId];

    /// <summary>The string at an offset is that name. False for an offset outside.</summary>
    internal bool StringIs(int offset, ReadOnlySpan<byte> name) => offset != 0 && StringBytesStartWith(offset, name);

    internal uint ReadU32(int offset) => _section.Span.Length - offset >= 4 && offset >= 0
        ? BinaryPrimitives.ReadUInt32LittleEndian(_section.Span[offset..])
        : throw _section.Malformed(offset, "the data ends early");

    internal MalformedFileException Malformed(int offset, string what) => _section.Malformed(offset, what);

    /// <summary>Equality without looking for the end of the string first: most differ in their first bytes.</summary>
    private bool StringBytesStartWith(int offset, ReadOnlySpan<byte> name)
    {
        if (offset < _firstString)
        {
            return Base is not null && offset > 0 && Base.StringBytesStartWith(offset, name);
        }

        var start = offset - _firstString;
        return start < _stringsLength - name.Length
            && _section.Span[_stringsStart + start + name.Length] == 0
            && _section.Span.Slice(_stringsStart + start, name.Length).SequenceEqual(name);
    }

    private static (int[] Offsets, BtfKind[] Kinds) Scan(SectionData section, int start, int end)
    {
        var bytes = section.Span;
        // A type takes at least 12 bytes; most take 12 to 40.
        var offsets = new int[Math.Max(16, (end - start) / 20)];
        var kinds = new BtfKind[offsets.Length];
        var count = 0;
        for (var at = start; at < end;)
        {
            if (end - at < 12)
            {
                throw section.Malformed(at, "a BTF type that ends early");
            }

            var description = BinaryPrimitives.ReadUInt32LittleEndian(bytes[(at + 4)..]);
            var kind = (BtfKind)((description >> 24) & 0x1f);
            var members = (long)(description & 0xffff);
            var trailer = kind switch
            {
                BtfKind.Int or BtfKind.Variable or BtfKind.DeclarationTag => 4,
                BtfKind.Array => 12,
                BtfKind.Struct or BtfKind.Union or BtfKind.DataSection or BtfKind.Enum64 => members * 12,
                BtfKind.Enum or BtfKind.FunctionPrototype => members * 8,
                BtfKind.Pointer or BtfKind.Forward or BtfKind.Typedef or BtfKind.Volatile or BtfKind.Const or BtfKind.Restrict
                    or BtfKind.Function or BtfKind.Float or BtfKind.TypeTag => 0,
                _ => throw section.Malformed(at, $"BTF kind {(int)kind}, newer than this reader; its size is unknown"),
            };
            if (trailer > end - at - 12)
            {
                throw section.Malformed(at, "a BTF type that ends early");
            }

            if (count == offsets.Length)
            {
                Array.Resize(ref offsets, count * 2);
                Array.Resize(ref kinds, count * 2);
            }

            offsets[count] = at;
            kinds[count++] = kind;
            at += 12 + (int)trailer;
        }

        Array.Resize(ref offsets, count);
        Array.Resize(ref kinds, count);
        return (offsets, kinds);
    }
}
