// Line number programs read for the opposite question: where does a line begin? DWARF 5, section 6.2.5; rows with is_stmt are "recommended breakpoint
// locations" (section 6.2.2). GCC writes several rows for one address (views), of which each counts here: the line has its beginning there, although
// a lookup by address names the last of them.
using KTrace.Symbols.Dwarf;

namespace KTrace.Symbols.Lookup;

/// <summary>A row that begins a statement.</summary>
internal readonly record struct LineStatement(ulong Address, int File, int Line);

/// <summary>The rows of one unit's program, in its order.</summary>
internal static class LineStatements
{
    // A row costs at least a byte of the program, but sequences may be read in any order: this bounds nothing real.
    private const int MaximumRows = 1 << 24;

    /// <summary>
    /// Appends every row of a wanted file that begins a statement and does not merely go on with the line of the row before it. Throws
    /// <see cref="MalformedFileException"/> for a damaged program.
    /// </summary>
    /// <param name="header">Loaded for the unit.</param>
    /// <param name="isWanted">Whether file N of the table is asked for.</param>
    public static void Read(SectionData section, LineProgramHeader header, Func<int, bool> isWanted, GrowingArray<LineStatement> into)
    {
        var r = section.ReaderAt(header.ProgramStart);
        var state = new State(header);
        var (lastFile, lastLine) = (int.MinValue, 0);
        var rows = 0;
        while (r.Position < header.ProgramEnd && rows < MaximumRows)
        {
            var emits = false;
            int opcode = r.ReadU8();
            if (opcode >= header.OpcodeBase)
            {
                var adjusted = opcode - header.OpcodeBase;
                state.Advance((ulong)(adjusted / header.LineRange));
                state.Line += header.LineBase + (adjusted % header.LineRange);
                emits = true;
            }
            else
            {
                emits = state.Standard(ref r, opcode);
            }

            if (state.SequenceEnded)
            {
                state = new State(header);
                lastFile = int.MinValue;
            }
            else if (emits)
            {
                rows++;
                if (state.IsStatement && (state.File != lastFile || state.Line != lastLine))
                {
                    if (isWanted(state.File))
                    {
                        into.Add(new LineStatement(state.Address, state.File, state.Line));
                    }

                    (lastFile, lastLine) = (state.File, state.Line);
                }
            }
        }
    }

    private struct State(LineProgramHeader header)
    {
        public ulong Address;
        public int File = LineProgramHeader.DefaultFile;
        public int Line = 1;
        public bool IsStatement = header.DefaultIsStatement;
        public bool SequenceEnded;
        private ulong _operation;

        public void Advance(ulong count)
        {
            if (header.MaximumOperations == 1)
            {
                Address += count * (ulong)header.MinimumInstructionLength;
                return;
            }

            _operation += count;
            Address += _operation / (ulong)header.MaximumOperations * (ulong)header.MinimumInstructionLength;
            _operation %= (ulong)header.MaximumOperations;
        }

        /// <summary>An opcode below opcode_base; true when it writes a row.</summary>
        public bool Standard(ref ByteReader r, int opcode)
        {
            switch (opcode)
            {
                case 0:
                    Extended(ref r);
                    return false;
                case DwLine.Copy:
                    return true;
                case DwLine.AdvancePc:
                    Advance(r.ReadUleb128());
                    return false;
                case DwLine.AdvanceLine:
                    Line += (int)r.ReadSleb128();
                    return false;
                case DwLine.SetFile:
                    File = (int)Math.Min(r.ReadUleb128(), int.MaxValue);
                    return false;
                case DwLine.NegateStmt:
                    IsStatement = !IsStatement;
                    return false;
                case DwLine.ConstAddPc:
                    Advance((ulong)((255 - header.OpcodeBase) / header.LineRange));
                    return false;
                case DwLine.FixedAdvancePc:
                    Address += r.ReadU16();
                    _operation = 0;
                    return false;
                case DwLine.SetBasicBlock or DwLine.SetPrologueEnd or DwLine.SetEpilogueBegin:
                    return false;
                case DwLine.SetColumn or DwLine.SetIsa:
                    r.ReadUleb128();
                    return false;
                default:
                    for (var i = header.OperandsOf(opcode); i > 0; i--)
                    {
                        r.ReadUleb128();
                    }

                    return false;
            }
        }

        private void Extended(ref ByteReader r)
        {
            var length = r.ReadUleb128();
            if (length == 0 || length > (ulong)r.Remaining)
            {
                throw r.Malformed($"an extended opcode of 0x{length:x} bytes where 0x{r.Remaining:x} are left");
            }

            var end = r.Position + (int)length;
            switch (r.ReadU8())
            {
                case DwLine.ExtendedEndSequence:
                    SequenceEnded = true;
                    break;
                case DwLine.ExtendedSetAddress:
                    Address = (end - r.Position) switch
                    {
                        8 => r.ReadU64(),
                        4 => r.ReadU32(),
                        var size => throw r.Malformed($"DW_LNE_set_address of {size} bytes"),
                    };
                    _operation = 0;
                    break;
            }

            r.Skip((ulong)Math.Max(0, end - r.Position));
        }
    }
}
