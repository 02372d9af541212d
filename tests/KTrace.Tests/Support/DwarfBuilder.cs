using KTrace.Symbols;

namespace KTrace.Tests.Support;

/// <summary>Sections by name, without a file around them.</summary>
internal sealed class SyntheticSections(int addressSize = 8) : ISectionSource
{
    private readonly Dictionary<string, SectionData> _sections = [];

    public string Path => "synthetic";

    public int AddressSize => addressSize;

    public byte[] this[string name]
    {
        set => _sections[name] = new SectionData(Path, name, value);
    }

    public SectionData GetSection(string name) => _sections.TryGetValue(name, out var data) ? data : SectionData.Empty(Path, name);
}

/// <summary>A DIE to be written. A value is a number, a text, bytes of a block, or another DIE.</summary>
internal sealed class DieSketch(ushort tag)
{
    public ushort Tag => tag;

    public List<(ushort Name, ushort Form, object Value)> Attributes { get; } = [];

    public List<DieSketch> Children { get; } = [];

    /// <summary>Where it was written: bytes from the start of .debug_info.</summary>
    public int Offset { get; set; }

    public DieSketch With(ushort name, ushort form, object value)
    {
        Attributes.Add((name, form, value));
        return this;
    }

    public DieSketch Add(params DieSketch[] children)
    {
        Children.AddRange(children);
        return this;
    }
}

/// <summary>Writes .debug_info, .debug_abbrev and .debug_str for units of any version, in 32- or 64-bit DWARF.</summary>
internal sealed class DwarfBuilder
{
    private readonly ByteWriter _info = new();
    private readonly ByteWriter _abbrev = new();
    private readonly ByteWriter _str = new ByteWriter().U8(0);
    private readonly List<(int At, int Size, int Base, DieSketch Target)> _references = [];

    /// <summary>Adds a unit and returns the offset of its header.</summary>
    public int AddUnit(DieSketch root, int version = 5, bool is64 = false, int addressSize = 8, int unitType = 1, Action<ByteWriter>? afterHeader = null)
    {
        var start = _info.Length;
        if (is64)
        {
            _info.U32(0xffffffff);
        }

        var lengthAt = _info.Length;
        var offsetSize = is64 ? 8 : 4;
        _info.Number(0, offsetSize).U16(version);
        var abbreviations = (ulong)_abbrev.Length;
        if (version >= 5)
        {
            _info.U8(unitType).U8(addressSize).Number(abbreviations, offsetSize);
        }
        else
        {
            _info.Number(abbreviations, offsetSize).U8(addressSize);
        }

        afterHeader?.Invoke(_info);
        var code = 0;
        Write(root, ref code, start, version, offsetSize, addressSize);
        _abbrev.U8(0);
        var length = (ulong)(_info.Length - lengthAt - offsetSize);
        if (is64)
        {
            _info.Patch64(lengthAt, length);
        }
        else
        {
            _info.Patch32(lengthAt, (uint)length);
        }

        return start;
    }

    /// <summary>The sections so far, references resolved.</summary>
    public SyntheticSections Build(SyntheticSections? into = null)
    {
        var info = _info.ToArray();
        foreach (var (at, size, @base, target) in _references)
        {
            var value = (ulong)(target.Offset - @base);
            for (var i = 0; i < size; i++)
            {
                info[at + i] = (byte)(value >> (8 * i));
            }
        }

        into ??= new SyntheticSections();
        into[".debug_info"] = info;
        into[".debug_abbrev"] = _abbrev.ToArray();
        into[".debug_str"] = _str.ToArray();
        return into;
    }

    private void Write(DieSketch die, ref int code, int unit, int version, int offsetSize, int addressSize)
    {
        die.Offset = _info.Length;
        code++;
        _info.Uleb((ulong)code);
        _abbrev.Uleb((ulong)code).Uleb(die.Tag).U8(die.Children.Count > 0 ? 1 : 0);
        foreach (var (name, form, value) in die.Attributes)
        {
            _abbrev.Uleb(name).Uleb(form);
            if (form == 0x21)
            {
                _abbrev.Sleb(Convert.ToInt64(value));
            }
            else
            {
                WriteValue(form, value, unit, version, offsetSize, addressSize);
            }
        }

        _abbrev.U8(0).U8(0);
        if (die.Children.Count == 0)
        {
            return;
        }

        foreach (var child in die.Children)
        {
            Write(child, ref code, unit, version, offsetSize, addressSize);
        }

        _info.U8(0);
    }

    private void WriteValue(ushort form, object value, int unit, int version, int offsetSize, int addressSize)
    {
        if (value is DieSketch target)
        {
            // ref4 and ref_udata's kin count from the unit, ref_addr from the section.
            var size = form switch { 0x11 => 1, 0x12 => 2, 0x13 => 4, 0x14 => 8, 0x10 => version <= 2 ? addressSize : offsetSize, _ => throw new ArgumentException("form") };
            _references.Add((_info.Length, size, form == 0x10 ? 0 : unit, target));
            _info.Number(0, size);
            return;
        }

        switch (form)
        {
            case 0x08:
                _info.Text((string)value);
                break;
            case 0x0e:
                _info.Number((ulong)_str.Length, offsetSize);
                _str.Text((string)value);
                break;
            case 0x18 or 0x09:
                _info.Uleb((ulong)((byte[])value).Length).Bytes((byte[])value);
                break;
            case 0x0a:
                _info.U8(((byte[])value).Length).Bytes((byte[])value);
                break;
            case 0x03:
                _info.U16(((byte[])value).Length).Bytes((byte[])value);
                break;
            case 0x04:
                _info.U32((ulong)((byte[])value).Length).Bytes((byte[])value);
                break;
            case 0x1e:
                _info.Bytes((byte[])value);
                break;
            case 0x0d:
                _info.Sleb(Convert.ToInt64(value));
                break;
            case 0x0f or 0x15 or 0x1a or 0x1b or 0x22 or 0x23 or 0x1f01 or 0x1f02:
                _info.Uleb(Unsigned(value));
                break;
            case 0x19:
                break;
            default:
                _info.Number(Unsigned(value), Size(form, offsetSize, addressSize));
                break;
        }
    }

    private static ulong Unsigned(object value) => value is ulong number ? number : unchecked((ulong)Convert.ToInt64(value));

    private static int Size(ushort form, int offsetSize, int addressSize) => form switch
    {
        0x01 => addressSize,
        0x0b or 0x0c or 0x11 or 0x25 or 0x29 => 1,
        0x05 or 0x12 or 0x26 or 0x2a => 2,
        0x27 or 0x2b => 3,
        0x06 or 0x13 or 0x1c or 0x28 or 0x2c => 4,
        0x07 or 0x14 or 0x20 or 0x24 => 8,
        _ => offsetSize,
    };
}

/// <summary>Writes line number programs: a header of any version, then opcodes one by one.</summary>
internal sealed class LineProgramBuilder
{
    private readonly ByteWriter _program = new();

    public int Version { get; init; } = 5;

    public bool Is64 { get; init; }

    public int MinimumInstructionLength { get; init; } = 1;

    public int MaximumOperations { get; init; } = 1;

    public List<string> Directories { get; } = ["/comp"];

    public List<(string Name, int Directory)> Files { get; } = [("a.c", 0), ("a.c", 0), ("b.h", 0)];

    /// <summary>Version 5: a column of MD5 sums behind each file.</summary>
    public bool HasMd5 { get; init; }

    public LineProgramBuilder SetAddress(ulong address) => Extended(2, w => w.U64(address));

    public LineProgramBuilder Extended(int opcode, Action<ByteWriter>? operands = null)
    {
        var body = new ByteWriter().U8(opcode);
        operands?.Invoke(body);
        _program.U8(0).Uleb((ulong)body.Length).Bytes(body.ToArray());
        return this;
    }

    public LineProgramBuilder EndSequence() => Extended(1);

    /// <summary>DW_LNS_copy after moving on by that many instructions and lines.</summary>
    public LineProgramBuilder Row(int advance, int lines)
    {
        if (advance != 0)
        {
            _program.U8(2).Uleb((ulong)advance);
        }

        _program.U8(3).Sleb(lines).U8(1);
        return this;
    }

    public LineProgramBuilder Raw(params byte[] bytes)
    {
        _program.Bytes(bytes);
        return this;
    }

    public byte[] Build()
    {
        var tables = new ByteWriter();
        if (Version >= 5)
        {
            tables.U8(1).Uleb(1).Uleb(0x08).Uleb((ulong)Directories.Count);
            Directories.ForEach(d => tables.Text(d));
            tables.U8(HasMd5 ? 3 : 2).Uleb(1).Uleb(0x08).Uleb(2).Uleb(0x0b);
            if (HasMd5)
            {
                tables.Uleb(5).Uleb(0x1e);
            }

            tables.Uleb((ulong)Files.Count);
            foreach (var (name, directory) in Files)
            {
                tables.Text(name).U8(directory);
                if (HasMd5)
                {
                    tables.Bytes(new byte[16]);
                }
            }
        }
        else
        {
            // Directory 0 and file 0 are not written.
            Directories.Skip(1).ToList().ForEach(d => tables.Text(d));
            tables.U8(0);
            foreach (var (name, directory) in Files.Skip(1))
            {
                tables.Text(name).Uleb((ulong)directory).Uleb(0).Uleb(0);
            }

            tables.U8(0);
        }

        var header = new ByteWriter().U8(MinimumInstructionLength);
        if (Version >= 4)
        {
            header.U8(MaximumOperations);
        }

        header.U8(1).U8(-5).U8(14).U8(13).Bytes([0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1]).Bytes(tables.ToArray());
        var afterLength = new ByteWriter().U16(Version);
        if (Version >= 5)
        {
            afterLength.U8(8).U8(0);
        }

        afterLength.Number((ulong)header.Length, Is64 ? 8 : 4).Bytes(header.ToArray()).Bytes(_program.ToArray());
        var section = new ByteWriter();
        if (Is64)
        {
            section.U32(0xffffffff).U64((ulong)afterLength.Length);
        }
        else
        {
            section.U32((ulong)afterLength.Length);
        }

        return section.Bytes(afterLength.ToArray()).ToArray();
    }
}
