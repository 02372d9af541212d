// The unwinder's memo: StackUnwinder's walk over the rows that were best before, without its objects. It takes the first row at every address and nothing else; whatever is not an ordinary call, an interrupted
// kernel or the end of a stack (expressions, generated code, a first row that leads nowhere, memory that is not there) it leaves to StackUnwinder, from the beginning. So it gives StackUnwinder's answer or
// none: the tests compare both on recorded stacks and on damaged ones.
using System.Buffers.Binary;
using KTrace.Symbols.Arch;

namespace KTrace.Symbols.Unwind;

/// <summary>How a walk ended.</summary>
public enum WalkEnd
{
    /// <summary>Ask <see cref="StackUnwinder"/>.</summary>
    Unknown,

    /// <summary>A place where stacks end: the same return addresses always end in the same way.</summary>
    Bottom,

    /// <summary>User space: its registers are at <see cref="StackWalk.UserRegisters"/>.</summary>
    User,

    /// <summary>Memory at <see cref="StackWalk.Missing"/> is needed that was not copied.</summary>
    Missing,
}

/// <summary>Walks stacks that are like stacks before. For one thread at a time.</summary>
public sealed class StackWalk
{
    private readonly Architecture _architecture;
    private readonly WalkRows _rows;
    private readonly ulong[] _registers;
    private readonly ulong[] _saved;
    private readonly ulong[] _stackPointers = new ulong[StackUnwinder.DefaultLimit];
    private readonly ulong[] _counters = new ulong[StackUnwinder.DefaultLimit];
    private readonly UnwindRule[] _found = new UnwindRule[StackUnwinder.DefaultLimit];
    private readonly ulong[] _lookups = new ulong[StackUnwinder.DefaultLimit];
    private readonly IUnwindTable _table;
    private readonly uint _calleeSaved;
    private uint _known;

    /// <param name="table">Ask for a new walk when it changes.</param>
    public StackWalk(Architecture architecture, IUnwindTable table)
    {
        _architecture = architecture;
        _table = table;
        _rows = new WalkRows(architecture, table);
        _registers = new ulong[architecture.DwarfRegisterCount];
        _saved = new ulong[architecture.DwarfRegisterCount];
        foreach (var register in architecture.CalleeSavedRegisters)
        {
            _calleeSaved |= 1u << register;
        }
    }

    /// <summary>A walk over a table that has other modules.</summary>
    /// <param name="isSame">Whether nothing has changed at an address: its rows are taken over.</param>
    public StackWalk With(IUnwindTable table, Func<ulong, bool> isSame)
    {
        var walk = new StackWalk(_architecture, table);
        walk._rows.Take(_rows, isSame);
        return walk;
    }

    /// <summary>The frames' program counters, as <see cref="UnwoundFrame.ProgramCounter"/>, innermost first.</summary>
    public ReadOnlySpan<ulong> Counters => _counters.AsSpan(0, Count);

    /// <summary>What found each frame.</summary>
    public ReadOnlySpan<UnwindRule> Rules => _found.AsSpan(0, Count);

    /// <summary>See <see cref="UnwoundFrame.LookupAddress"/>.</summary>
    public ReadOnlySpan<ulong> Lookups => _lookups.AsSpan(0, Count);

    public int Count { get; private set; }

    /// <summary>Address of the user's struct pt_regs (of what the processor pushed, with <see cref="IsInterruptFrame"/>).</summary>
    public ulong UserRegisters { get; private set; }

    public bool IsInterruptFrame { get; private set; }

    public ulong Missing { get; private set; }

    /// <summary>Where to put the innermost frame's registers before <see cref="Walk"/>, by their DWARF numbers: all of them are taken for known.</summary>
    public Span<ulong> Start => _registers;

    /// <summary>Walks from the registers in <see cref="Start"/>, at an instruction that no call returns to.</summary>
    public WalkEnd Walk(scoped ref readonly WalkMemory memory)
    {
        Count = 0;
        _known = (1u << _registers.Length) - 1;
        var isCall = false;
        ref readonly var row = ref _rows.At(_registers[_architecture.ProgramCounter]);
        if (!row.IsText)
        {
            return WalkEnd.Unknown;
        }

        var precedes = false;
        var found = UnwindRule.Registers;
        while (true)
        {
            var stackPointer = _registers[_architecture.StackPointer];
            var counter = _registers[_architecture.ProgramCounter];
            _counters[Count] = counter;
            _found[Count] = found;
            _lookups[Count] = row.Address;
            _stackPointers[Count++] = stackPointer;
            if (Count == StackUnwinder.DefaultLimit || counter == 0)
            {
                return WalkEnd.Unknown;
            }

            WalkEnd? end;
            var wasPreceding = precedes;
            precedes = row.MayPrecedeUser;
            found = row.Kind == WalkKind.Call ? row.Rule : UnwindRule.SavedRegisters;
            switch (row.Kind)
            {
                case WalkKind.Call:
                    isCall = !row.IsInterrupted;
                    end = Call(row, in memory);
                    break;
                case WalkKind.SavedRegisters or WalkKind.InterruptFrame:
                    isCall = !row.IsInterrupted;
                    end = Interrupted(row, in memory);
                    break;
                case WalkKind.End when !row.IsThreadStart || !wasPreceding:
                    return WalkEnd.Bottom;
                default:
                    return WalkEnd.Unknown;
            }

            if (end is { } final)
            {
                return final;
            }

            row = ref _rows.At(_registers[_architecture.ProgramCounter] - (isCall ? 1ul : 0));
            if (!row.IsText || (_registers[_architecture.StackPointer] <= stackPointer && IsRepeated()))
            {
                return WalkEnd.Unknown;
            }
        }
    }

    /// <summary>What <see cref="WalkEnd.Bottom"/> is. It depends on the last of <see cref="Lookups"/> alone.</summary>
    public UnwindStop Bottom() => KernelEntries.StopIn(_table.FunctionAt(_lookups[Count - 1])) ?? new UnwindStop.EndOfStack();

    /// <summary>What <see cref="WalkEnd.User"/> is. It depends on the last three of <see cref="Lookups"/>, and on what is at <see cref="UserRegisters"/>.</summary>
    /// <param name="memory">The same as was walked through.</param>
    public UnwindStop User(IMemoryReader memory)
    {
        var user = SavedRegistersReader.Read(UserRegisters, new RegisterSet(_architecture), 0, !IsInterruptFrame, memory, _table);
        return user.Failure ?? StackUnwinder.UserSpace(user, FunctionAt(1), FunctionAt(2), FunctionAt(3));

        string? FunctionAt(int fromEnd) => Count >= fromEnd ? _table.FunctionAt(_lookups[Count - fromEnd]) : null;
    }

    private WalkEnd? Call(in WalkRow row, scoped ref readonly WalkMemory memory)
    {
        var word = _architecture.WordSize;
        if (FrameAddress(row, in memory, out var cfa) is { } end)
        {
            return end;
        }

        // Not above the stack pointer: another stack, which a word on this one tells, or no stack at all. StackUnwinder tells.
        if (cfa % (ulong)word != 0 || (cfa <= _registers[_architecture.StackPointer] && !row.IsDereferenced))
        {
            return WalkEnd.Unknown;
        }

        // Rules read the callee's registers: what they give goes into the caller's only when all are read.
        uint set = 0, lost = 0;
        foreach (ref readonly var rule in _rows.RulesOf(row))
        {
            ulong value = 0;
            var isKnown = true;
            switch (rule.Kind)
            {
                case RegisterRuleKind.AtCfa or RegisterRuleKind.AtSelf or RegisterRuleKind.AtExpression:
                    if (rule.Kind != RegisterRuleKind.AtCfa && (_known & (1u << rule.Base)) == 0)
                    {
                        isKnown = false;
                        break;
                    }

                    var place = Truncate((rule.Kind == RegisterRuleKind.AtCfa ? cfa : _registers[rule.Base]) + (ulong)rule.Offset);
                    if (!memory.TryReadWord(place, word, out value))
                    {
                        Missing = place;
                        return WalkEnd.Missing;
                    }

                    break;
                case RegisterRuleKind.SameValue or RegisterRuleKind.Unspecified:
                    isKnown = (_known & (1u << rule.Register)) != 0;
                    value = _registers[rule.Register];
                    break;
                case RegisterRuleKind.CfaPlus:
                    value = Truncate(cfa + (ulong)rule.Offset);
                    break;
                case RegisterRuleKind.Undefined when rule.Register != _architecture.ProgramCounter:
                    isKnown = false;
                    break;
                default:
                    return WalkEnd.Unknown;
            }

            _saved[rule.Register] = value;
            (set, lost) = isKnown ? (set | (1u << rule.Register), lost & ~(1u << rule.Register)) : (set & ~(1u << rule.Register), lost | (1u << rule.Register));
        }

        if ((set & (1u << _architecture.ProgramCounter)) == 0)
        {
            return WalkEnd.Unknown;
        }

        _known = ((row.KeepsCalleeSaved ? _known & _calleeSaved : 0) | (1u << _architecture.StackPointer)) & ~lost;
        _registers[_architecture.StackPointer] = cfa;
        for (var left = set; left != 0; left &= left - 1)
        {
            var register = System.Numerics.BitOperations.TrailingZeroCount(left);
            _registers[register] = _saved[register];
        }

        _known |= set;
        return (_known & (1u << _architecture.StackPointer)) == 0 ? WalkEnd.Unknown : null;
    }

    /// <summary>struct pt_regs of x86-64, or its end: see <see cref="SavedRegistersReader"/>.</summary>
    private WalkEnd? Interrupted(in WalkRow row, scoped ref readonly WalkMemory memory)
    {
        if (FrameAddress(row, in memory, out var address) is { } end)
        {
            return end;
        }

        var layout = _architecture.PtRegs;
        var isWhole = row.Kind == WalkKind.SavedRegisters;
        var skip = isWhole ? 0 : layout.InterruptFrame;
        if (address % 8 != 0)
        {
            return WalkEnd.Unknown;
        }

        if (!memory.TryRead(address, layout.Size - skip, out var bytes))
        {
            Missing = address;
            return WalkEnd.Missing;
        }

        const int counterAt = 0, segmentAt = 8, flagsAt = 16, stackAt = 24;
        var frame = bytes[(layout.InterruptFrame - skip)..];
        var segment = BinaryPrimitives.ReadUInt64LittleEndian(frame[segmentAt..]);
        var counter = BinaryPrimitives.ReadUInt64LittleEndian(frame[counterAt..]);
        if (!SavedRegistersReader.AreFlags(BinaryPrimitives.ReadUInt64LittleEndian(frame[flagsAt..])))
        {
            return WalkEnd.Unknown;
        }

        if ((segment & 3) == 3)
        {
            (UserRegisters, IsInterruptFrame) = (address, !isWhole);
            return SavedRegistersReader.IsUserAddress(counter, 8) ? WalkEnd.User : WalkEnd.Unknown;
        }

        if (!SavedRegistersReader.IsKernelSegment((ushort)segment, 8) || counter == 0)
        {
            return WalkEnd.Unknown;
        }

        if (isWhole)
        {
            foreach (var slot in layout.Slots)
            {
                if (slot.Register < _registers.Length)
                {
                    _registers[slot.Register] = BinaryPrimitives.ReadUInt64LittleEndian(bytes[slot.Offset..]);
                    _known |= 1u << slot.Register;
                }
            }
        }
        else
        {
            _known &= _calleeSaved;
            _registers[X86_64.Rip] = counter;
            _registers[X86_64.Rsp] = BinaryPrimitives.ReadUInt64LittleEndian(frame[stackAt..]);
            _known |= (1u << X86_64.Rip) | (1u << X86_64.Rsp);
        }

        // Names are looked up at the pc itself here; SavedRegistersReader asks for text there, whatever kind of frame it is.
        return _rows.At(counter).IsText ? null : WalkEnd.Unknown;
    }

    private WalkEnd? FrameAddress(in WalkRow row, scoped ref readonly WalkMemory memory, out ulong cfa)
    {
        cfa = Truncate(_registers[row.Register] + (ulong)row.Offset);
        if ((_known & (1u << row.Register)) == 0)
        {
            return WalkEnd.Unknown;
        }

        if (row.IsDereferenced)
        {
            if (!memory.TryReadWord(cfa, _architecture.WordSize, out var value))
            {
                Missing = cfa;
                return WalkEnd.Missing;
            }

            cfa = Truncate(value + (ulong)row.OffsetAfter);
        }

        return null;
    }

    private bool IsRepeated()
    {
        for (var i = 0; i < Count; i++)
        {
            if (_counters[i] == _registers[_architecture.ProgramCounter] && _stackPointers[i] == _registers[_architecture.StackPointer])
            {
                return true;
            }
        }

        return false;
    }

    private ulong Truncate(ulong value) => _architecture.WordSize == 4 ? (uint)value : value;
}
