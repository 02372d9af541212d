// The state machine of line number programs: DWARF 5, section 6.2.2 and 6.2.5, as far as statements go: columns and prologue marks are read over.
using KTrace.Symbols.Dwarf;

namespace KTrace.Symbols.Lookup;

/// <summary>The registers of the line number state machine that are asked for, and what each opcode does to them.</summary>
internal struct LineProgramState(LineProgramHeader header)
{
    public ulong Address;
    public int File = LineProgramHeader.DefaultFile;
    public int Line = 1;
    public bool IsStatement = header.DefaultIsStatement;
    public bool SequenceEnded;

    /// <summary>Of the next row that is written; whoever takes that row sets it back.</summary>
    public int Discriminator;

    private ulong _operation;

    /// <summary>Executes the next opcode; true when it writes a row. At the end of a sequence <see cref="SequenceEnded"/> is set, and a new state begins.</summary>
    public bool Execute(ref ByteReader r)
    {
        int opcode = r.ReadU8();
        if (opcode < header.OpcodeBase)
        {
            return Standard(ref r, opcode);
        }

        var adjusted = opcode - header.OpcodeBase;
        Advance((ulong)(adjusted / header.LineRange));
        Line += header.LineBase + (adjusted % header.LineRange);
        return true;
    }

    private bool Standard(ref ByteReader r, int opcode)
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
            case DwLine.ExtendedSetDiscriminator:
                Discriminator = (int)Math.Min(r.ReadUleb128(), int.MaxValue);
                break;
        }

        r.Skip((ulong)Math.Max(0, end - r.Position));
    }

    private void Advance(ulong count)
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
}
