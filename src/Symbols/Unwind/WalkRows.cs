// What StackWalk keeps by address: the best row of it, as numbers, and what the unwinder asks about names.
using KTrace.Symbols.Arch;

namespace KTrace.Symbols.Unwind;

/// <summary>What a walk does at an address.</summary>
internal enum WalkKind : byte
{
    /// <summary>It is left to <see cref="StackUnwinder"/>.</summary>
    Leave,
    Call,
    SavedRegisters,
    InterruptFrame,

    /// <summary>The stack ends here, always in the same way.</summary>
    End,
}

/// <summary>One rule of a row.</summary>
/// <param name="Base">The register whose value <see cref="RegisterRuleKind.AtExpression"/> begins with.</param>
internal readonly record struct WalkRule(byte Register, RegisterRuleKind Kind, int Offset, byte Base);

/// <summary>A row of the unwind table, and what names say.</summary>
internal struct WalkRow
{
    public ulong Address;
    public WalkKind Kind;
    public bool IsText;
    public bool IsInterrupted;
    public bool KeepsCalleeSaved;
    public bool IsDereferenced;

    /// <summary>Called by the start of a task, it says that the task is a new one, whose registers lie above.</summary>
    public bool MayPrecedeUser;

    /// <summary>The start of a task.</summary>
    public bool IsThreadStart;
    public byte Register;
    public int Offset;
    public int OffsetAfter;
    public UnwindRule Rule;
    public int FirstRule;
    public int RuleCount;
}

/// <summary>Rows by address: what the table answered before.</summary>
internal sealed class WalkRows(Architecture architecture, IUnwindTable table)
{
    // As many as a kernel has call sites that are used; the bound only guards against a guest that walks through everything.
    private const int Capacity = 1 << 17;
    private const int MaximumKept = Capacity / 2;
    private const int MaximumRules = 1 << 20;

    private readonly int[] _places = new int[Capacity];
    private WalkRow[] _rows = new WalkRow[1024];
    private readonly List<WalkRule> _rules = [];
    private int _count;

    /// <param name="address">See <see cref="UnwoundFrame.LookupAddress"/>.</param>
    public ref readonly WalkRow At(ulong address)
    {
        var place = Place(address);
        while (_places[place] is not 0 and var index)
        {
            if (_rows[index - 1].Address == address)
            {
                return ref _rows[index - 1];
            }

            place = (place + 1) & (Capacity - 1);
        }

        return ref Add(address, place);
    }

    /// <summary>Takes over what another table's rows were, where they still are.</summary>
    /// <param name="isSame">Whether nothing has changed at an address.</param>
    public void Take(WalkRows others, Func<ulong, bool> isSame)
    {
        for (var i = 0; i < others._count; i++)
        {
            var row = others._rows[i];
            if (isSame(row.Address))
            {
                var rules = others.RulesOf(row);
                row.FirstRule = _rules.Count;
                foreach (var rule in rules)
                {
                    _rules.Add(rule);
                }

                Put(row, Free(row.Address));
            }
        }
    }

    public ReadOnlySpan<WalkRule> RulesOf(in WalkRow row) => System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_rules).Slice(row.FirstRule, row.RuleCount);

    private ref readonly WalkRow Add(ulong address, int place)
    {
        if (_count >= MaximumKept || _rules.Count >= MaximumRules)
        {
            Array.Clear(_places);
            _rules.Clear();
            _count = 0;
            place = Place(address);
        }

        return ref Put(Read(address), place);
    }

    private ref readonly WalkRow Put(WalkRow row, int place)
    {
        if (_count == _rows.Length)
        {
            Array.Resize(ref _rows, _rows.Length * 2);
        }

        _rows[_count] = row;
        _places[place] = ++_count;
        return ref _rows[_count - 1];
    }

    private int Free(ulong address)
    {
        var place = Place(address);
        while (_places[place] != 0)
        {
            place = (place + 1) & (Capacity - 1);
        }

        return place;
    }

    private static int Place(ulong address) => (int)((address * 0x9e3779b97f4a7c15) >> 47);

    private WalkRow Read(ulong address)
    {
        var function = table.FunctionAt(address);
        var row = new WalkRow
        {
            Address = address,
            IsText = table.IsText(address),
            IsThreadStart = KernelEntries.IsThreadStart(function),
            MayPrecedeUser = KernelEntries.IsFirstCallOfUserTask(function) || function == "ret_from_fork",
            FirstRule = _rules.Count,
        };
        if (!row.IsText || KernelEntries.ReturnReplacedBy(function) is not null || KernelEntries.IsOnTheWayBack(function) || table.FindRows(address) is not [var best, ..])
        {
            return row;
        }

        if (best.Shape == FrameShape.EndOfStack)
        {
            row.Kind = row.IsThreadStart || KernelEntries.StopIn(function) is not null || !KernelEntries.IsEntryCode(function) ? WalkKind.End : WalkKind.Leave;
            return row;
        }

        var cfa = best.Cfa;
        if (cfa.Kind == CfaKind.Expression && cfa.Expression!.IsRegisterPlus(out var register, out var offset, out var isDereferenced) && isDereferenced)
        {
            cfa = new CfaRule(CfaKind.Dereferenced, register, offset);
        }

        if (cfa.Kind == CfaKind.Expression || (uint)cfa.Register >= (uint)architecture.DwarfRegisterCount || !IsInt(cfa.Offset) || !IsInt(cfa.OffsetAfter)
            || best.Rule == UnwindRule.FramePointer || (best.Shape != FrameShape.Call && architecture is not X86_64))
        {
            return row;
        }

        foreach (var saved in best.Saved)
        {
            var (from, at) = (saved.Register, saved.Rule.Offset);
            var isSimple = saved.Rule.Kind switch
            {
                RegisterRuleKind.Expression => false,
                RegisterRuleKind.AtExpression => saved.Rule.Expression!.IsRegisterPlus(out from, out at, out var isBehind) && !isBehind,
                _ => true,
            };
            if (!isSimple || (uint)from >= (uint)architecture.DwarfRegisterCount || (uint)saved.Register >= (uint)architecture.DwarfRegisterCount || !IsInt(at))
            {
                _rules.RemoveRange(row.FirstRule, _rules.Count - row.FirstRule);
                return row;
            }

            _rules.Add(new WalkRule((byte)saved.Register, saved.Rule.Kind, (int)at, (byte)from));
        }

        row.RuleCount = _rules.Count - row.FirstRule;
        row.Kind = best.Shape switch
        {
            FrameShape.Call => WalkKind.Call,
            FrameShape.SavedRegisters => WalkKind.SavedRegisters,
            _ => WalkKind.InterruptFrame,
        };
        row.IsInterrupted = best.IsInterrupted;
        row.KeepsCalleeSaved = best.KeepsCalleeSaved;
        row.IsDereferenced = cfa.Kind == CfaKind.Dereferenced;
        (row.Register, row.Offset, row.OffsetAfter, row.Rule) = ((byte)cfa.Register, (int)cfa.Offset, (int)cfa.OffsetAfter, best.Rule);
        return row;
    }

    private static bool IsInt(long value) => value is >= int.MinValue and <= int.MaxValue;
}
