// Call frame instructions (DWARF 5, sections 6.4.2 and 7.24), executed up to one address. Vendor instructions that gas and
// gcc write for x86 are DW_CFA_GNU_args_size (ignored) and, from old versions, DW_CFA_GNU_negative_offset_extended.
// Registers beyond the architecture's general ones (xmm, x87) are parsed and dropped: nobody asks for them.
using System.Collections.Immutable;
using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Dwarf;

/// <summary>Executes the instructions of one CIE and one FDE. Lives inside one lookup.</summary>
internal ref struct CallFrameInstructions
{
    private const int MaximumRemembered = 32;
    private const int NoRegister = -1;

    private readonly SectionData _section;
    private readonly Cie _cie;
    private readonly ulong _sectionAddress;
    private readonly RegisterRule[] _rules;
    private RegisterRule[]? _initialRules;
    private CfaRule _cfa;
    private CfaRule _initialCfa;
    private Stack<(CfaRule Cfa, RegisterRule[] Rules)>? _remembered;

    public CallFrameInstructions(SectionData section, Cie cie, ulong sectionAddress, int registerCount)
    {
        _section = section;
        _cie = cie;
        _sectionAddress = sectionAddress;
        _rules = new RegisterRule[registerCount];
        _cfa = new CfaRule(CfaKind.Register, NoRegister, 0);
    }

    /// <summary>The row at <paramref name="address"/>, or null when no CFA was ever defined.</summary>
    public UnwindRow? FindRow(int start, int end, ulong location, ulong address, int programCounter)
    {
        Execute(_cie.InstructionsStart, _cie.InstructionsEnd, location, ulong.MaxValue, isCie: true);
        _initialRules = (RegisterRule[])_rules.Clone();
        _initialCfa = _cfa;
        Execute(start, end, location, address, isCie: false);
        if (_cfa is { Kind: CfaKind.Register, Register: NoRegister } || (_cfa.Kind == CfaKind.Register && _cfa.Register >= _rules.Length))
        {
            return null;
        }

        var count = 0;
        foreach (ref readonly var rule in _rules.AsSpan())
        {
            count += rule.Kind == RegisterRuleKind.Unspecified ? 0 : 1;
        }

        var saved = ImmutableArray.CreateBuilder<SavedRegister>(count);
        for (var i = 0; i < _rules.Length; i++)
        {
            if (_rules[i].Kind != RegisterRuleKind.Unspecified)
            {
                // The unwinder looks for the return address under the pc's number, whatever column the CIE chose.
                saved.Add(new SavedRegister(i == _cie.ReturnAddressRegister ? programCounter : i, _rules[i]));
            }
        }

        return new UnwindRow(UnwindRule.Cfi, FrameShape.Call, _cfa, saved.MoveToImmutable(), _cie.IsSignal);
    }

    private void Execute(int start, int end, ulong location, ulong address, bool isCie)
    {
        var r = _section.ReaderAt(start);
        while (r.Position < end)
        {
            var opcode = r.ReadU8();
            ulong advance;
            switch (opcode >> 6)
            {
                case 1: // DW_CFA_advance_loc
                    advance = (ulong)(opcode & 0x3f);
                    goto Advance;
                case 2: // DW_CFA_offset
                    Set((ulong)(opcode & 0x3f), RegisterRuleKind.AtCfa, (long)r.ReadUleb128() * _cie.DataAlignment);
                    continue;
                case 3: // DW_CFA_restore
                    Restore((ulong)(opcode & 0x3f));
                    continue;
            }

            switch (opcode)
            {
                case 0x00: // DW_CFA_nop
                    continue;
                case 0x01: // DW_CFA_set_loc
                    var to = PointerEncoding.Read(ref r, _cie.AddressEncoding, _cie.AddressSize, _sectionAddress);
                    if (isCie || to > address)
                    {
                        return;
                    }

                    location = to;
                    continue;
                case 0x02:
                    advance = r.ReadU8();
                    goto Advance;
                case 0x03:
                    advance = r.ReadU16();
                    goto Advance;
                case 0x04:
                    advance = r.ReadU32();
                    goto Advance;
                case 0x05: // DW_CFA_offset_extended
                    var register = r.ReadUleb128();
                    Set(register, RegisterRuleKind.AtCfa, (long)r.ReadUleb128() * _cie.DataAlignment);
                    continue;
                case 0x06: // DW_CFA_restore_extended
                    Restore(r.ReadUleb128());
                    continue;
                case 0x07:
                    Set(r.ReadUleb128(), RegisterRuleKind.Undefined, 0);
                    continue;
                case 0x08:
                    Set(r.ReadUleb128(), RegisterRuleKind.SameValue, 0);
                    continue;
                case 0x09: // DW_CFA_register
                    register = r.ReadUleb128();
                    Set(register, RegisterRuleKind.InRegister, (long)r.ReadUleb128());
                    continue;
                case 0x0a: // DW_CFA_remember_state
                    _remembered ??= new Stack<(CfaRule, RegisterRule[])>();
                    if (_remembered.Count == MaximumRemembered)
                    {
                        throw r.Malformed($"more than {MaximumRemembered} remembered states");
                    }

                    _remembered.Push((_cfa, (RegisterRule[])_rules.Clone()));
                    continue;
                case 0x0b: // DW_CFA_restore_state
                    if (_remembered is null || !_remembered.TryPop(out var state))
                    {
                        throw r.Malformed("DW_CFA_restore_state without a remembered state");
                    }

                    _cfa = state.Cfa;
                    state.Rules.CopyTo(_rules.AsSpan());
                    continue;
                case 0x0c: // DW_CFA_def_cfa
                    _cfa = new CfaRule(CfaKind.Register, Register(ref r), (long)r.ReadUleb128());
                    continue;
                case 0x0d: // DW_CFA_def_cfa_register
                    _cfa = new CfaRule(CfaKind.Register, Register(ref r), _cfa.Offset);
                    continue;
                case 0x0e: // DW_CFA_def_cfa_offset
                    _cfa = new CfaRule(CfaKind.Register, _cfa.Register, (long)r.ReadUleb128());
                    continue;
                case 0x0f: // DW_CFA_def_cfa_expression
                    _cfa = new CfaRule(CfaKind.Expression, 0, 0, 0, Expression(ref r));
                    continue;
                case 0x10: // DW_CFA_expression
                    register = r.ReadUleb128();
                    Set(register, RegisterRuleKind.AtExpression, 0, Expression(ref r));
                    continue;
                case 0x11: // DW_CFA_offset_extended_sf
                    register = r.ReadUleb128();
                    Set(register, RegisterRuleKind.AtCfa, r.ReadSleb128() * _cie.DataAlignment);
                    continue;
                case 0x12: // DW_CFA_def_cfa_sf
                    _cfa = new CfaRule(CfaKind.Register, Register(ref r), r.ReadSleb128() * _cie.DataAlignment);
                    continue;
                case 0x13: // DW_CFA_def_cfa_offset_sf
                    _cfa = new CfaRule(CfaKind.Register, _cfa.Register, r.ReadSleb128() * _cie.DataAlignment);
                    continue;
                case 0x14: // DW_CFA_val_offset
                    register = r.ReadUleb128();
                    Set(register, RegisterRuleKind.CfaPlus, (long)r.ReadUleb128() * _cie.DataAlignment);
                    continue;
                case 0x15: // DW_CFA_val_offset_sf
                    register = r.ReadUleb128();
                    Set(register, RegisterRuleKind.CfaPlus, r.ReadSleb128() * _cie.DataAlignment);
                    continue;
                case 0x16: // DW_CFA_val_expression
                    register = r.ReadUleb128();
                    Set(register, RegisterRuleKind.Expression, 0, Expression(ref r));
                    continue;
                case 0x2e: // DW_CFA_GNU_args_size
                    r.ReadUleb128();
                    continue;
                case 0x2f: // DW_CFA_GNU_negative_offset_extended
                    register = r.ReadUleb128();
                    Set(register, RegisterRuleKind.AtCfa, -((long)r.ReadUleb128() * _cie.DataAlignment));
                    continue;
                default:
                    throw r.Malformed($"call frame instruction 0x{opcode:x2}");
            }

        Advance:
            location += advance * _cie.CodeAlignment;
            if (isCie || location > address)
            {
                return;
            }
        }
    }

    private static int Register(ref ByteReader reader)
    {
        var register = reader.ReadUleb128();
        return register <= int.MaxValue ? (int)register : throw reader.Malformed($"register {register}");
    }

    private CallFrameExpression Expression(ref ByteReader reader)
    {
        var length = reader.ReadUleb128();
        var start = reader.Position;
        reader.Skip(length);
        return new CallFrameExpression(_section, start, (int)length, _cie.AddressSize);
    }

    private readonly void Set(ulong register, RegisterRuleKind kind, long offset, CallFrameExpression? expression = null)
    {
        if (register < (ulong)_rules.Length)
        {
            _rules[register] = new RegisterRule(kind, offset, expression);
        }
    }

    private readonly void Restore(ulong register)
    {
        if (register < (ulong)_rules.Length && _initialRules is not null)
        {
            _rules[register] = _initialRules[register];
        }
    }
}
