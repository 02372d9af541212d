// The header of a line number program: DWARF 5, section 6.2.4; DWARF 2 to 4, section 6.2.4 of those.
// Before version 5 files and directories count from 1 (directory 0 is the compilation directory); since 5 from 0, and GCC writes the
// primary source file twice, as 0 and as 1. Kernels are built with -fdebug-prefix-map, so the compilation directory may be relative.
using System.Text;

namespace KTrace.Symbols.Dwarf;

/// <summary>Parameters of a unit's line number program, and its files. One object may be filled with one unit after another.</summary>
internal sealed class LineProgramHeader
{
    /// <summary>The file register was never set in this sequence: file 1 as the specification has it. (BFD takes file 0 in version 5.)</summary>
    public const int DefaultFile = -1;

    private readonly GrowingArray<StringReference> _directories = new();
    private readonly GrowingArray<FileEntry> _files = new();
    private readonly GrowingArray<AttributeSpecification> _format = new(4);
    private DwarfSections _sections = null!;

    private readonly record struct FileEntry(StringReference Name, uint Directory);

    public int Version { get; private set; }

    public int OffsetSize { get; private set; }

    public int AddressSize { get; private set; }

    /// <summary>Bytes; 1 on x86.</summary>
    public int MinimumInstructionLength { get; private set; }

    /// <summary>1 except on VLIW machines.</summary>
    public int MaximumOperations { get; private set; }

    /// <summary>The is_stmt register's initial value. Lookups by address take every row; by line only statements.</summary>
    public bool DefaultIsStatement { get; private set; }

    public int LineBase { get; private set; }

    public int LineRange { get; private set; }

    public int OpcodeBase { get; private set; }

    /// <summary>Offset of standard_opcode_lengths in .debug_line; entry i is at OpcodeLengths + i - 1.</summary>
    public int OpcodeLengths { get; private set; }

    /// <summary>How many LEB128 operands a standard opcode has that this reader may not know.</summary>
    public int OperandsOf(int opcode) => _sections.Line.Span[OpcodeLengths + opcode - 1];

    /// <summary>The first opcode, bytes from the start of .debug_line.</summary>
    public int ProgramStart { get; private set; }

    public int ProgramEnd { get; private set; }

    public StringReference CompDir { get; private set; }

    public int FileCount => _files.Count;

    /// <summary>Reads the header of the unit's program (<see cref="Unit.LineOffset"/>).</summary>
    public void Load(Unit unit)
    {
        _sections = unit.Sections;
        _directories.Clear();
        _files.Clear();
        CompDir = unit.CompDir;
        var section = unit.Sections.Line;
        var r = section.ReaderAt(unit.LineOffset);
        ulong length = r.ReadU32();
        OffsetSize = 4;
        if (length == 0xffffffff)
        {
            length = r.ReadU64();
            OffsetSize = 8;
        }

        if (length > (ulong)r.Remaining)
        {
            throw r.Malformed($"a line number program of 0x{length:x} bytes where 0x{r.Remaining:x} are left");
        }

        ProgramEnd = r.Position + (int)length;
        Version = r.ReadU16();
        if (Version is < 2 or > 5)
        {
            throw r.Malformed($"line number program version {Version}; KTrace reads 2 to 5");
        }

        AddressSize = unit.Header.AddressSize;
        if (Version >= 5)
        {
            AddressSize = r.ReadU8();
            r.ReadU8(); // the size of segment selectors, which no producer has
        }

        var headerLength = r.ReadAddress(OffsetSize);
        if (headerLength > (ulong)(ProgramEnd - r.Position))
        {
            throw r.Malformed($"a line number program header of 0x{headerLength:x} bytes, longer than its program");
        }

        ProgramStart = r.Position + (int)headerLength;
        MinimumInstructionLength = r.ReadU8();
        MaximumOperations = Version >= 4 ? r.ReadU8() : 1;
        DefaultIsStatement = r.ReadU8() != 0;
        LineBase = (sbyte)r.ReadU8();
        LineRange = r.ReadU8();
        OpcodeBase = r.ReadU8();
        if (LineRange == 0 || MaximumOperations == 0 || OpcodeBase == 0 || AddressSize is not (4 or 8))
        {
            throw r.Malformed($"line range {LineRange}, {MaximumOperations} operations, opcode base {OpcodeBase}, address size {AddressSize}");
        }

        OpcodeLengths = r.Position;
        r.Skip((ulong)(OpcodeBase - 1));
        if (Version >= 5)
        {
            ReadEntries(ref r, unit, isDirectory: true);
            ReadEntries(ref r, unit, isDirectory: false);
        }
        else
        {
            ReadTablesBeforeVersion5(ref r);
        }

        if (r.Position > ProgramEnd)
        {
            throw r.Malformed("a line number program header that runs over its program's end");
        }
    }

    /// <summary>DW_LNE_define_file.</summary>
    public void AddFile(StringReference name, ulong directory) => _files.Add(new FileEntry(name, (uint)Math.Min(directory, uint.MaxValue)));

    /// <summary>
    /// The three strings that make a file's path: the compilation directory, the directory and the name, each of which may be "none".
    /// False when the table has no such file. Directory 0 counts as "none" for the <paramref name="shortForm"/> only.
    /// </summary>
    public bool TryFindFile(int file, bool shortForm, out StringReference directory, out StringReference name)
    {
        directory = name = default;
        var index = file;
        if (Version < 5)
        {
            index = file == DefaultFile ? 0 : file - 1;
        }
        else if (file == DefaultFile)
        {
            index = shortForm && _files.Count > 1 ? 1 : 0;
        }

        if ((uint)index >= (uint)_files.Count)
        {
            return false;
        }

        var entry = _files[index];
        name = entry.Name;
        if (name.IsNone)
        {
            return false;
        }

        long directoryIndex = Version < 5 ? (long)entry.Directory - 1 : entry.Directory;
        if (directoryIndex >= 0 && directoryIndex < _directories.Count && !(shortForm && Version >= 5 && directoryIndex == 0))
        {
            directory = _directories[(int)directoryIndex];
        }

        return true;
    }

    private void ReadTablesBeforeVersion5(ref ByteReader r)
    {
        while (ReadInlineString(ref r, out var directory))
        {
            _directories.Add(directory);
        }

        while (ReadInlineString(ref r, out var name))
        {
            var directory = r.ReadUleb128();
            r.ReadUleb128();
            r.ReadUleb128();
            AddFile(name, directory);
        }
    }

    private static bool ReadInlineString(ref ByteReader r, out StringReference reference)
    {
        reference = new StringReference(StringSection.Line, r.Position);
        return r.ReadStringBytes().Length > 0;
    }

    // DWARF 5, section 6.2.4.1: a description of the columns, then rows of any forms.
    private void ReadEntries(ref ByteReader r, Unit unit, bool isDirectory)
    {
        int columns = r.ReadU8();
        _format.Clear();
        for (var i = 0; i < columns; i++)
        {
            var content = r.ReadUleb128();
            var form = r.ReadUleb128();
            if (AttributeForm.FixedSize(form, AddressSize, OffsetSize, Version) == AttributeForm.Unknown)
            {
                throw r.Malformed($"a file table column of form 0x{form:x}");
            }

            _format.Add(new AttributeSpecification((ushort)Math.Min(content, ushort.MaxValue), (ushort)form, 0));
        }

        var count = r.ReadUleb128();
        if (count > (ulong)r.Remaining || (columns == 0 && count > 0))
        {
            throw r.Malformed($"{count} files or directories, more than the program could hold");
        }

        for (ulong row = 0; row < count; row++)
        {
            StringReference name = default;
            ulong directory = 0;
            for (var i = 0; i < columns; i++)
            {
                ref var column = ref _format[i];
                switch ((ulong)column.Name)
                {
                    case DwLine.ContentPath:
                        name = ReadString(ref r, unit, column.Form);
                        break;
                    case DwLine.ContentDirectoryIndex:
                        directory = ReadNumber(ref r, column.Form);
                        break;
                    default:
                        SkipForm(ref r, column.Form);
                        break;
                }
            }

            if (isDirectory)
            {
                _directories.Add(name);
            }
            else
            {
                AddFile(name, directory);
            }
        }
    }

    private StringReference ReadString(ref ByteReader r, Unit unit, ushort form)
    {
        switch (form)
        {
            case DwForm.String:
                var start = r.Position;
                r.ReadStringBytes();
                return new StringReference(StringSection.Line, start);
            case DwForm.LineStrp or DwForm.Strp:
                var offset = r.ReadAddress(OffsetSize);
                return offset > int.MaxValue ? default : new StringReference(form == DwForm.Strp ? StringSection.Str : StringSection.LineStr, (int)offset);
            case DwForm.Strx or DwForm.Strx1 or DwForm.Strx2 or DwForm.Strx3 or DwForm.Strx4:
                return unit.StringAt(ReadNumber(ref r, form));
            default:
                SkipForm(ref r, form);
                return default;
        }
    }

    private static ulong ReadNumber(ref ByteReader r, ushort form) => form switch
    {
        DwForm.Udata or DwForm.Strx => r.ReadUleb128(),
        DwForm.Data1 or DwForm.Strx1 => r.ReadU8(),
        DwForm.Data2 or DwForm.Strx2 => r.ReadU16(),
        DwForm.Strx3 => r.ReadU24(),
        DwForm.Data4 or DwForm.Strx4 => r.ReadU32(),
        DwForm.Data8 => r.ReadU64(),
        _ => throw r.Malformed($"a number of form 0x{form:x} in a file table"),
    };

    private void SkipForm(ref ByteReader r, ushort form)
    {
        switch (form)
        {
            case DwForm.String:
                r.ReadStringBytes();
                break;
            case DwForm.Block:
                r.Skip(r.ReadUleb128());
                break;
            case DwForm.Block1:
                r.Skip(r.ReadU8());
                break;
            case DwForm.Block2:
                r.Skip(r.ReadU16());
                break;
            case DwForm.Block4:
                r.Skip(r.ReadU32());
                break;
            case DwForm.Udata or DwForm.Strx:
                r.ReadUleb128();
                break;
            case DwForm.Sdata:
                r.ReadSleb128();
                break;
            default:
                var size = AttributeForm.FixedSize(form, AddressSize, OffsetSize, Version);
                if (size < 0)
                {
                    throw r.Malformed($"form 0x{form:x} in a file table");
                }

                r.Skip((ulong)size);
                break;
        }
    }

    /// <summary>The path as binutils prints it (compilation directory/directory/name, as far as they are relative), or the short form.</summary>
    public string Path(int file, bool shortForm)
    {
        var path = new ByteBuffer();
        AppendPath(path, file, shortForm);
        return Encoding.UTF8.GetString(path.Written);
    }

    /// <summary>The same, appended as UTF-8.</summary>
    public void AppendPath(ByteBuffer into, int file, bool shortForm)
    {
        if (TryFindFile(file, shortForm, out var directory, out var name))
        {
            SourcePath.Append(into, _sections, CompDir, directory, name, shortForm);
        }
        else
        {
            into.Append("<unknown>"u8);
        }
    }
}
