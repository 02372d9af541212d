using System.Buffers.Binary;
using KTrace.Symbols.Dwarf;

namespace KTrace.Symbols.Unwind;

/// <summary>Applies one row to one frame: the caller, or why there is none.</summary>
internal readonly struct FrameStep
{
    private const ulong StackSize = 8192;
    internal const ulong RuntimeTextStart = 0xffffffff80000000;
    private const ulong LowestKernelI386 = 0x40000000;

    private readonly IMemoryReader _memory;
    private readonly IUnwindTable _table;
    private readonly ulong _calleeSaved;
    private readonly ulong _machineWide;

    public FrameStep(Arch.Architecture architecture, IMemoryReader memory, IUnwindTable table)
    {
        _memory = memory;
        _table = table;
        _calleeSaved = RegisterSet.MaskOf(architecture.CalleeSavedRegisters);

        // Control registers and segment bases belong to the processor, not to a frame.
        var all = (1UL << architecture.RegisterNames.Length) - 1;
        _machineWide = all & ~((1UL << architecture.DwarfRegisterCount) - 1) & ~(1UL << architecture.Flags);
    }

    /// <summary>The caller's frame; or with <c>Stop</c>, why not. <c>User</c>: the stop is final and good.</summary>
    public readonly record struct Outcome(UnwoundFrame? Caller, UnwindStop? Stop, SavedRegistersReader.Result User = default)
    {
        public bool IsUser => User.IsUser;
    }

    public Outcome Apply(UnwindRow row, RegisterSet registers)
    {
        if (row.Shape == FrameShape.EndOfStack)
        {
            return new Outcome(null, new UnwindStop.EndOfStack());
        }

        if (FrameAddress(row, registers, out var cfa) is { } failure)
        {
            return new Outcome(null, failure);
        }

        return row.Shape == FrameShape.Call
            ? Call(row, registers, cfa)
            : Saved(cfa, registers, row.Shape == FrameShape.SavedRegisters, row.IsInterrupted);
    }

    /// <summary>What entry code was entered from, where its stack is all there is to go by.</summary>
    public Outcome EnteredFrom(RegisterSet registers, string function) => EntryCodeFrames.Find(registers, function, _memory, _table, _machineWide);

    /// <summary>
    /// The caller of a context switch while it fills the return stack buffer, with calls into itself that return nowhere (arch/x86/include/asm/nospec-branch.h, FILL_RETURN_BUFFER): their
    /// addresses lie on what it has saved. There are two alternatives of it, and ORC describes one.
    /// </summary>
    public Outcome CallerOfSwitch(RegisterSet registers, string function)
    {
        const int mostCalls = 2;
        var architecture = registers.Architecture;
        var word = architecture.WordSize;
        Span<byte> bytes = stackalloc byte[8];
        var calls = 0;
        for (; calls < mostCalls; calls++)
        {
            var place = registers.StackPointer + (ulong)(calls * word);
            bytes.Clear();
            if (_memory.Read(place, bytes[..word]) is not MemoryReadResult.Ok and var result)
            {
                return new Outcome(null, result == MemoryReadResult.NotFetched ? new UnwindStop.MemoryMissing(place, word) : new UnwindStop.BadMemory(place));
            }

            if (_table.FunctionAt(BinaryPrimitives.ReadUInt64LittleEndian(bytes)) != function)
            {
                break;
            }
        }

        // Behind its return address: bp, bx and r12 to r15; bp, bx, di, si and the flags (struct inactive_task_frame).
        var saved = word == 8 ? 7 : 6;
        return Apply(FramePointerRows.AtEntry(architecture) with { Rule = UnwindRule.Orc, KeepsCalleeSaved = false, Cfa = new CfaRule(CfaKind.Register, architecture.StackPointer, (saved + calls) * word) }, registers);
    }

    /// <summary>The frame whose registers are saved at an address.</summary>
    public Outcome Saved(ulong address, RegisterSet registers, bool isWhole, bool isInterrupted)
    {
        var keep = isWhole ? _machineWide : _machineWide | _calleeSaved;
        var result = SavedRegistersReader.Read(address, registers, keep, isWhole, _memory, _table);
        if (result.Failure is not null)
        {
            return new Outcome(null, result.Failure);
        }

        return result.IsUser
            ? new Outcome(null, null, result)
            : new Outcome(new UnwoundFrame(result.Registers!, UnwindRule.SavedRegisters, IsCall: !isInterrupted && result.Registers!.ProgramCounter != 0) { OriginalCounter = result.OriginalCounter }, null);
    }

    private Outcome Call(UnwindRow row, RegisterSet registers, ulong cfa)
    {
        var architecture = registers.Architecture;
        var word = architecture.WordSize;
        if (cfa % (ulong)word != 0)
        {
            return Corrupt($"the frame address 0x{cfa:x} is not aligned");
        }

        // A frame pointer may lead to another stack, which may lie anywhere: i386's call_on_stack switches stacks below one. (i386 has
        // stacks of 8 KiB, x86-64 of 16, aligned to their size.)
        if (cfa <= registers.StackPointer && row.Cfa.Kind == CfaKind.Register
            && (row.Cfa.Register == architecture.StackPointer || (cfa - 1) / StackSize == registers.StackPointer / StackSize))
        {
            return Corrupt($"the frame address 0x{cfa:x} is not above the stack pointer 0x{registers.StackPointer:x}");
        }

        var caller = registers.CloneOnly(row.KeepsCalleeSaved ? _machineWide | _calleeSaved : _machineWide);
        caller[architecture.StackPointer] = cfa;
        var hasReturnAddress = false;
        foreach (ref readonly var saved in row.Saved.AsSpan())
        {
            var isReturnAddress = saved.Register == architecture.ProgramCounter;
            var outcome = Value(saved, registers, cfa, out var value, out var place);
            switch (outcome)
            {
                case ExpressionOutcome.Value:
                    caller[saved.Register] = value;
                    hasReturnAddress |= isReturnAddress;
                    break;
                case ExpressionOutcome.NotFetched:
                    return new Outcome(null, new UnwindStop.MemoryMissing(place, word));
                case ExpressionOutcome.Unreadable when isReturnAddress:
                    return new Outcome(null, new UnwindStop.BadMemory(place));
                case ExpressionOutcome.Unusable when isReturnAddress && saved.Rule.Kind == RegisterRuleKind.Undefined:
                    return new Outcome(null, new UnwindStop.EndOfStack());
                default:
                    caller.Forget(saved.Register);
                    break;
            }
        }

        if (!hasReturnAddress)
        {
            return Corrupt($"no rule gives the return address at 0x{registers.ProgramCounter:x}");
        }

        // A noreturn call may be its function's last instruction: the return address then belongs to the next one.
        var pc = caller.ProgramCounter;
        if (!_table.IsText(row.IsInterrupted ? pc : pc - 1))
        {
            // Modules and generated code lie in the last 2 GiB (x86-64); nothing is read elsewhere, where it could be a device's.
            if (word == 8 && pc < RuntimeTextStart)
            {
                return Corrupt($"the return address 0x{pc:x} below 0x{cfa:x} is no code of the kernel or of a known module");
            }

            var answer = _table.FindRuntimeText(pc, _memory);
            if (answer.Missing is not null)
            {
                return new Outcome(null, answer.Missing);
            }

            if (answer.Original != 0)
            {
                return new Outcome(new UnwoundFrame(caller, row.Rule, IsCall: !row.IsInterrupted) { OriginalCounter = answer.Original }, null);
            }

            if (GeneratedCaller(registers, caller, row, out var missing) is { } generated)
            {
                return new Outcome(generated, null);
            }

            if (missing is not null)
            {
                return new Outcome(null, missing);
            }

            return Corrupt($"the return address 0x{pc:x} below 0x{cfa:x} is no code of the kernel or of a known module");
        }

        // A guess that finds a function's first byte found a pointer that somebody pushed (i386's entry code pushes its C handlers).
        if (row.Rule == UnwindRule.FramePointer && _table.FunctionAt(pc) != _table.FunctionAt(pc - 1) && !KernelEntries.IsThunk(_table.FunctionAt(registers.ProgramCounter)))
        {
            return Corrupt($"the return address 0x{pc:x} below 0x{cfa:x} is a function's first byte");
        }

        return new Outcome(new UnwoundFrame(caller, row.Rule, IsCall: !row.IsInterrupted), null);
    }

    /// <summary>
    /// Code that was generated while the kernel runs (BPF programs) or belongs to a module of which nothing is known: believed only when the
    /// instruction before the return address is a direct call of the very function that returns there.
    /// </summary>
    private UnwoundFrame? GeneratedCaller(RegisterSet callee, RegisterSet caller, UnwindRow row, out UnwindStop.MemoryMissing? missing)
    {
        const int callLength = 5;
        missing = null;
        var pc = caller.ProgramCounter;
        var word = callee.Architecture.WordSize;
        if (row.IsInterrupted || (word == 4 && pc < LowestKernelI386))
        {
            return null;
        }

        Span<byte> call = stackalloc byte[callLength];
        switch (_memory.Read(pc - callLength, call))
        {
            case MemoryReadResult.NotFetched:
                missing = new UnwindStop.MemoryMissing(pc - callLength, callLength);
                return null;
            case MemoryReadResult.Unreadable:
                return null;
        }

        const byte nearCall = 0xe8;
        var target = word == 8
            ? pc + (ulong)BinaryPrimitives.ReadInt32LittleEndian(call[1..])
            : (uint)(pc + BinaryPrimitives.ReadUInt32LittleEndian(call[1..]));
        return call[0] == nearCall && _table.IsText(target) && _table.FunctionAt(target) is { } called
            && called == _table.FunctionAt(callee.ProgramCounter) && called != _table.FunctionAt(target - 1)
            ? new UnwoundFrame(caller, row.Rule, IsCall: true)
            : null;
    }

    /// <summary>
    /// Assembly without any row (clear_page, memcpy in kernels without ORC) pushes little or nothing: its return address is the first word above sp
    /// that lies right behind a direct call of this very function; or the word at sp itself, behind any direct call.
    /// </summary>
    /// <returns>Memory that is missing, or null.</returns>
    public UnwindStop? CallerOfLeaf(RegisterSet registers, string function, out UnwoundFrame? caller)
    {
        const int maximumPushed = 8;
        const int callLength = 5;
        const byte nearCall = 0xe8;
        caller = null;
        var word = registers.Architecture.WordSize;
        Span<byte> call = stackalloc byte[callLength];
        for (var i = 0; i <= maximumPushed; i++)
        {
            var place = registers.StackPointer + (ulong)(i * word);
            var outcome = ReadWord(place, registers, out var pc);
            if (outcome != ExpressionOutcome.Value)
            {
                return outcome == ExpressionOutcome.NotFetched ? new UnwindStop.MemoryMissing(place, word) : null;
            }

            if (pc < callLength || !_table.IsText(pc - 1))
            {
                continue;
            }

            switch (_memory.Read(pc - callLength, call))
            {
                case MemoryReadResult.NotFetched:
                    return new UnwindStop.MemoryMissing(pc - callLength, callLength);
                case MemoryReadResult.Unreadable:
                    continue;
            }

            var target = Truncate(pc + (ulong)BinaryPrimitives.ReadInt32LittleEndian(call[1..]), registers);
            if (call[0] == nearCall && _table.IsText(target) && (i == 0 || _table.FunctionAt(target) == function))
            {
                var next = registers.CloneOnly(i == 0 ? _machineWide | _calleeSaved : _machineWide | (1UL << registers.Architecture.FramePointer));
                next[registers.Architecture.StackPointer] = place + (ulong)word;
                next[registers.Architecture.ProgramCounter] = pc;
                caller = new UnwoundFrame(next, UnwindRule.FramePointer, IsCall: true);
                return null;
            }
        }

        return null;
    }

    private ExpressionOutcome Value(in SavedRegister saved, RegisterSet registers, ulong cfa, out ulong value, out ulong place)
    {
        value = 0;
        place = 0;
        switch (saved.Rule.Kind)
        {
            case RegisterRuleKind.SameValue or RegisterRuleKind.Unspecified:
                value = registers[saved.Register];
                return registers.IsKnown(saved.Register) ? ExpressionOutcome.Value : ExpressionOutcome.Unusable;
            case RegisterRuleKind.InRegister:
                var source = (int)Math.Min((ulong)saved.Rule.Offset, int.MaxValue);
                if (!registers.IsKnown(source))
                {
                    return ExpressionOutcome.Unusable;
                }

                value = registers[source];
                return ExpressionOutcome.Value;
            case RegisterRuleKind.CfaPlus:
                value = Truncate(cfa + (ulong)saved.Rule.Offset, registers);
                return ExpressionOutcome.Value;
            case RegisterRuleKind.AtCfa:
                place = Truncate(cfa + (ulong)saved.Rule.Offset, registers);
                return ReadWord(place, registers, out value);
            case RegisterRuleKind.AtSelf:
                if (!registers.IsKnown(saved.Register))
                {
                    return ExpressionOutcome.Unusable;
                }

                place = Truncate(registers[saved.Register] + (ulong)saved.Rule.Offset, registers);
                return ReadWord(place, registers, out value);
            case RegisterRuleKind.Expression:
                var computed = saved.Rule.Expression!.Evaluate(registers, _memory, cfa, out value);
                place = value;
                return computed;
            case RegisterRuleKind.AtExpression:
                var located = saved.Rule.Expression!.Evaluate(registers, _memory, cfa, out place);
                return located == ExpressionOutcome.Value ? ReadWord(place, registers, out value) : located;
            default:
                return ExpressionOutcome.Unusable;
        }
    }

    private UnwindStop? FrameAddress(UnwindRow row, RegisterSet registers, out ulong cfa)
    {
        cfa = 0;
        var rule = row.Cfa;
        if (rule.Kind == CfaKind.Expression)
        {
            var outcome = rule.Expression!.Evaluate(registers, _memory, null, out cfa);
            return outcome == ExpressionOutcome.Value ? null : FailureOf(outcome, cfa, registers, "the frame address is an expression that cannot be evaluated");
        }

        if (!registers.IsKnown(rule.Register))
        {
            return new UnwindStop.Corrupt($"the frame address at 0x{registers.ProgramCounter:x} depends on {registers.Architecture.RegisterNames[rule.Register]}, whose value is not known");
        }

        cfa = Truncate(registers[rule.Register] + (ulong)rule.Offset, registers);
        if (rule.Kind == CfaKind.Dereferenced)
        {
            var place = cfa;
            var outcome = ReadWord(place, registers, out cfa);
            if (outcome != ExpressionOutcome.Value)
            {
                return FailureOf(outcome, place, registers, "");
            }

            cfa = Truncate(cfa + (ulong)rule.OffsetAfter, registers);
        }

        return null;
    }

    private static UnwindStop FailureOf(ExpressionOutcome outcome, ulong place, RegisterSet registers, string unusable) => outcome switch
    {
        ExpressionOutcome.NotFetched => new UnwindStop.MemoryMissing(place, registers.Architecture.WordSize),
        ExpressionOutcome.Unreadable => new UnwindStop.BadMemory(place),
        _ => new UnwindStop.Corrupt(unusable),
    };

    private ExpressionOutcome ReadWord(ulong address, RegisterSet registers, out ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        bytes.Clear();
        var result = _memory.Read(address, bytes[..registers.Architecture.WordSize]);
        value = BinaryPrimitives.ReadUInt64LittleEndian(bytes);
        return result switch
        {
            MemoryReadResult.Ok => ExpressionOutcome.Value,
            MemoryReadResult.NotFetched => ExpressionOutcome.NotFetched,
            _ => ExpressionOutcome.Unreadable,
        };
    }

    private static ulong Truncate(ulong value, RegisterSet registers) => registers.Architecture.WordSize == 4 ? (uint)value : value;

    private static Outcome Corrupt(string what) => new(null, new UnwindStop.Corrupt(what));
}
