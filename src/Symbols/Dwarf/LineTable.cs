// Line number programs: DWARF 5, section 6.2.5. Rows that begin no statement and all but the last row of one address are dropped by
// lookups, as binutils does (GCC writes several rows for one address: "views"). Sequences may overlap (discarded sections all start at 0):
// sorted by start, the longest first, and trimmed. A batch decodes 17 MB of programs, so rows go into buffers that are used again.
using System.Runtime.CompilerServices;

namespace KTrace.Symbols.Dwarf;

/// <summary>One row: from <see cref="Address"/> on, up to the next row's address.</summary>
internal struct LineRow
{
    public ulong Address;
    public int File;
    public int Line;
    public int Discriminator;
}

/// <summary>The decoded line number program of one unit.</summary>
internal sealed class LineTable
{
    private LineRow[] _rows = new LineRow[1024];
    private int _rowCount;
    private readonly GrowingArray<LineSequence> _sequences = new(8);
    private readonly GrowingArray<LineRow> _late = new(0);
    private readonly ushort[] _addressAdvance = new ushort[256];
    private readonly short[] _lineAdvance = new short[256];
    private int _tablesFor;
    private int _sequenceStart;
    private bool _isSorted;

    private struct LineSequence
    {
        public ulong Low;
        public ulong High;
        public int First;
        public int Count;
    }

    public LineProgramHeader Header { get; } = new();

    /// <summary>Decodes the unit's program; what was there before is forgotten. A unit without one gives an empty table.</summary>
    public unsafe void Load(Unit unit)
    {
        _rowCount = 0;
        _sequences.Clear();
        _late.Clear();
        _isSorted = false;
        if (unit.LineOffset < 0)
        {
            return;
        }

        Header.Load(unit);
        PrepareSpecialOpcodes();
        var section = unit.Sections.Line;
        fixed (byte* bytes = section.Span)
        fixed (ushort* addressAdvance = _addressAdvance)
        fixed (short* lineAdvance = _lineAdvance)
        {
            Decode(section, bytes, addressAdvance, lineAdvance);
        }
    }

    /// <summary>The row that covers <paramref name="address"/>.</summary>
    public bool TryFind(ulong address, out LineRow row)
    {
        if (!_isSorted)
        {
            SortSequences();
        }

        row = default;
        var index = LastAtOrBelow(address);
        if (index < 0 || address >= _sequences[index].High)
        {
            return false;
        }

        ref var sequence = ref _sequences[index];
        var (low, high) = (sequence.First, sequence.First + sequence.Count);
        while (high - low > 1)
        {
            var middle = (int)((uint)(low + high) / 2);
            if (_rows[middle].Address <= address)
            {
                low = middle;
            }
            else
            {
                high = middle;
            }
        }

        row = _rows[low];
        return row.Address <= address;
    }

    /// <summary>Adds the addresses of all sequences.</summary>
    public void AddRanges(GrowingArray<AddressRange> into)
    {
        for (var i = 0; i < _sequences.Count; i++)
        {
            into.Add(new AddressRange(_sequences[i].Low, _sequences[i].High));
        }
    }

    private int LastAtOrBelow(ulong address)
    {
        var (low, high) = (-1, _sequences.Count);
        while (high - low > 1)
        {
            var middle = (low + high) / 2;
            if (_sequences[middle].Low <= address)
            {
                low = middle;
            }
            else
            {
                high = middle;
            }
        }

        return low;
    }

    private void PrepareSpecialOpcodes()
    {
        // All four are bytes. LineRange is not 0, so no program is the 0 that stands for "none".
        var parameters = (Header.OpcodeBase << 24) | ((Header.LineBase & 0xff) << 16) | (Header.LineRange << 8) | Header.MinimumInstructionLength;
        if (_tablesFor == parameters)
        {
            return;
        }

        _tablesFor = parameters;
        for (var opcode = Header.OpcodeBase; opcode < 256; opcode++)
        {
            var adjusted = opcode - Header.OpcodeBase;
            _addressAdvance[opcode] = (ushort)(adjusted / Header.LineRange * Header.MinimumInstructionLength);
            _lineAdvance[opcode] = (short)(Header.LineBase + (adjusted % Header.LineRange));
        }
    }

    private unsafe void Decode(SectionData section, byte* bytes, ushort* addressAdvance, short* lineAdvance)
    {
        var p = bytes + Header.ProgramStart;
        var end = bytes + Header.ProgramEnd;
        var opcodeBase = Header.OpcodeBase;
        var instructionLength = (ulong)Header.MinimumInstructionLength;
        var operations = (ulong)Header.MaximumOperations;
        var constantAdvance = (ulong)((255 - opcodeBase) / Header.LineRange);
        ulong address = 0;
        ulong operation = 0;
        var file = LineProgramHeader.DefaultFile;
        var line = 1;
        var discriminator = 0;
        _sequenceStart = 0;
        while (p < end)
        {
            var opcode = *p++;
            if (opcode >= opcodeBase)
            {
                if (operations == 1)
                {
                    address += addressAdvance[opcode];
                }
                else
                {
                    Advance((ulong)((opcode - opcodeBase) / Header.LineRange), operations, instructionLength, ref address, ref operation);
                }

                line += lineAdvance[opcode];
                AddRow(address, file, line, discriminator);
                discriminator = 0;
                continue;
            }

            switch (opcode)
            {
                case 0:
                    var length = Uleb(section, bytes, ref p, end);
                    if (length == 0 || length > (ulong)(end - p))
                    {
                        throw section.Malformed(p - bytes, $"an extended opcode of 0x{length:x} bytes where 0x{end - p:x} are left");
                    }

                    var next = p + length;
                    switch (*p++)
                    {
                        case DwLine.ExtendedEndSequence:
                            EndSequence(address);
                            (address, operation, file, line, discriminator) = (0, 0, LineProgramHeader.DefaultFile, 1, 0);
                            break;
                        case DwLine.ExtendedSetAddress:
                            address = (next - p) switch
                            {
                                8 => Unsafe.ReadUnaligned<ulong>(p),
                                4 => Unsafe.ReadUnaligned<uint>(p),
                                var size => throw section.Malformed(p - bytes, $"DW_LNE_set_address of {size} bytes"),
                            };
                            operation = 0;
                            break;
                        case DwLine.ExtendedSetDiscriminator:
                            discriminator = (int)Uleb(section, bytes, ref p, next);
                            break;
                        case DwLine.ExtendedDefineFile:
                            DefineFile(section, bytes, p, next);
                            break;
                    }

                    p = next;
                    break;
                case DwLine.Copy:
                    AddRow(address, file, line, discriminator);
                    discriminator = 0;
                    break;
                case DwLine.AdvancePc:
                    Advance(Uleb(section, bytes, ref p, end), operations, instructionLength, ref address, ref operation);
                    break;
                case DwLine.AdvanceLine:
                    line += (int)Sleb(section, bytes, ref p, end);
                    break;
                case DwLine.SetFile:
                    file = (int)Math.Min(Uleb(section, bytes, ref p, end), int.MaxValue);
                    break;
                case DwLine.SetColumn or DwLine.SetIsa:
                    Uleb(section, bytes, ref p, end);
                    break;
                case DwLine.ConstAddPc:
                    Advance(constantAdvance, operations, instructionLength, ref address, ref operation);
                    break;
                case DwLine.FixedAdvancePc:
                    if (end - p < 2)
                    {
                        throw section.Malformed(p - bytes, "a line number program that ends inside an opcode");
                    }

                    address += Unsafe.ReadUnaligned<ushort>(p);
                    operation = 0;
                    p += 2;
                    break;
                case DwLine.NegateStmt or DwLine.SetBasicBlock or DwLine.SetPrologueEnd or DwLine.SetEpilogueBegin:
                    break;
                default:
                    for (var i = bytes[Header.OpcodeLengths + opcode - 1]; i > 0; i--)
                    {
                        Uleb(section, bytes, ref p, end);
                    }

                    break;
            }
        }

        if (_rowCount > _sequenceStart)
        {
            // No DW_LNE_end_sequence: the last row's extent is unknown, so nothing is said about it.
            EndSequence(_rows[_rowCount - 1].Address);
        }
    }

    // Section 6.2.5.1; only VLIW machines have more than one operation in an instruction.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Advance(ulong count, ulong operations, ulong instructionLength, ref ulong address, ref ulong operation)
    {
        if (operations == 1)
        {
            address += count * instructionLength;
            return;
        }

        operation += count;
        address += operation / operations * instructionLength;
        operation %= operations;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void AddRow(ulong address, int file, int line, int discriminator)
    {
        var row = new LineRow { Address = address, File = file, Line = line, Discriminator = discriminator };
        if (_rowCount == _sequenceStart || address > _rows[_rowCount - 1].Address)
        {
            if (_rowCount == _rows.Length)
            {
                Grow();
            }

            _rows[_rowCount++] = row;
        }
        else if (address == _rows[_rowCount - 1].Address)
        {
            _rows[_rowCount - 1] = row;
        }
        else
        {
            _late.Add(in row);
        }
    }

    private void EndSequence(ulong high)
    {
        if (_late.Count > 0)
        {
            MergeLateRows();
        }

        var count = _rowCount - _sequenceStart;
        if (count > 0 && _rows[_sequenceStart].Address < high)
        {
            _sequences.Add(new LineSequence { Low = _rows[_sequenceStart].Address, High = high, First = _sequenceStart, Count = count });
            _sequenceStart = _rowCount;
        }
        else
        {
            _rowCount = _sequenceStart;
        }
    }

    // Producers that jump backwards inside a sequence: where two rows have one address, the one that came in order wins, then the earlier one
    // (binutils' rule, so that both tools say the same).
    private void MergeLateRows()
    {
        var inOrder = _rowCount - _sequenceStart;
        var count = inOrder + _late.Count;
        var (keys, items) = (new ulong[count], new int[count]);
        for (var i = 0; i < count; i++)
        {
            keys[i] = i < inOrder ? _rows[_sequenceStart + i].Address : _late[i - inOrder].Address;
            items[i] = i;
        }

        AddressSort.Sort(keys, items, count);
        var merged = new LineRow[count];
        var kept = 0;
        for (var i = 0; i < count; i++)
        {
            if (i == 0 || keys[i] != keys[i - 1])
            {
                merged[kept++] = items[i] < inOrder ? _rows[_sequenceStart + items[i]] : _late[items[i] - inOrder];
            }
        }

        _late.Clear();
        _rowCount = _sequenceStart;
        for (var i = 0; i < kept; i++)
        {
            if (_rowCount == _rows.Length)
            {
                Grow();
            }

            _rows[_rowCount++] = merged[i];
        }
    }

    private void Grow()
    {
        var larger = new LineRow[_rows.Length * 2];
        Array.Copy(_rows, larger, _rowCount);
        _rows = larger;
    }

    private void SortSequences()
    {
        _isSorted = true;
        var count = _sequences.Count;
        if (count <= 1)
        {
            return;
        }

        // Start ascending, end descending, and of equal ones the last that was read: two stable sorts, the minor key first.
        var (keys, items) = (new ulong[count], new int[count]);
        for (var i = 0; i < count; i++)
        {
            keys[i] = ~_sequences[count - 1 - i].High;
            items[i] = count - 1 - i;
        }

        AddressSort.Sort(keys, items, count);
        for (var i = 0; i < count; i++)
        {
            keys[i] = _sequences[items[i]].Low;
        }

        AddressSort.Sort(keys, items, count);
        var unsorted = new LineSequence[count];
        Array.Copy(_sequences.Items, unsorted, count);
        _sequences.Clear();
        ulong covered = 0;
        for (var i = 0; i < count; i++)
        {
            var sequence = unsorted[items[i]];
            if (i > 0 && sequence.High <= covered)
            {
                continue;
            }

            if (i > 0 && sequence.Low < covered)
            {
                sequence.Low = covered;
            }

            covered = sequence.High;
            _sequences.Add(in sequence);
        }
    }

    private unsafe void DefineFile(SectionData section, byte* bytes, byte* p, byte* end)
    {
        var start = (int)(p - bytes);
        while (p < end && *p != 0)
        {
            p++;
        }

        if (p++ >= end)
        {
            throw section.Malformed(start, "a string without its terminating NUL");
        }

        Header.AddFile(new StringReference(StringSection.Line, start), Uleb(section, bytes, ref p, end));
    }

    private static unsafe ulong Uleb(SectionData section, byte* bytes, ref byte* p, byte* end)
    {
        if (p < end && *p < 0x80)
        {
            return *p++;
        }

        ulong value = 0;
        for (var shift = 0; p < end; shift += 7)
        {
            ulong b = *p++;
            value |= shift < 64 ? (b & 0x7f) << shift : 0;
            if (b < 0x80)
            {
                return value;
            }
        }

        throw section.Malformed(p - bytes, "a line number program that ends inside a LEB128");
    }

    private static unsafe long Sleb(SectionData section, byte* bytes, ref byte* p, byte* end)
    {
        long value = 0;
        for (var shift = 0; p < end; shift += 7)
        {
            long b = *p++;
            value |= shift < 64 ? (b & 0x7f) << shift : 0;
            if (b < 0x80)
            {
                return shift + 7 < 64 && (b & 0x40) != 0 ? value | (-1L << (shift + 7)) : value;
            }
        }

        throw section.Malformed(p - bytes, "a line number program that ends inside a LEB128");
    }
}
