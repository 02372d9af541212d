using System.Buffers.Binary;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Dwarf.Locations;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Recovery;
using KTrace.Symbols.Unwind;
using AddressRange = KTrace.Symbols.Unwind.AddressRange;

namespace KTrace.Symbols.Values;

/// <summary>One stack at one stop, while its variables are read: registers, memory, and what was missing. Used again for stop after stop.</summary>
internal sealed class StackReading(KernelMap map)
{
    /// <summary>Bytes; x86-64's with KASAN. Further below a frame nobody writes on its stack.</summary>
    public const ulong LargestStack = 32 << 10;

    private const int OperatorsPerVariable = 20_000;

    private readonly List<Activation> _pool = [];
    private ICollection<AddressRange>? _missing;
    private IMemoryReader _memory = null!;
    private IValueRecovery? _recovery;

    public Architecture Architecture => map.Image.Architecture;

    public UnwindResult Stack { get; private set; } = null!;

    /// <summary>Innermost first: physical frames, and between them the functions that left by tail calls.</summary>
    public List<Activation> Activations { get; } = [];

    /// <summary>Operators that one variable may still cost.</summary>
    public int Budget;

    /// <summary>How many callers deep one value is being looked for.</summary>
    public int Chain { get; set; }

    public void Begin(UnwindResult stack, IMemoryReader memory, IValueRecovery? recovery, ICollection<AddressRange>? missing)
    {
        (Stack, _memory, _recovery, _missing) = (stack, memory, recovery, missing);
        Activations.Clear();
        BeginVariable();
    }

    public void BeginVariable()
    {
        Budget = OperatorsPerVariable;
        Chain = 0;
    }

    public Activation Add(VariablePlace place, int frame, bool isTail)
    {
        if (Activations.Count == _pool.Count)
        {
            _pool.Add(new Activation(this));
        }

        var activation = _pool[Activations.Count];
        activation.Set(place, frame, isTail);
        Activations.Add(activation);
        return activation;
    }

    public MemoryReadResult Read(ulong address, Span<byte> destination)
    {
        var result = _memory.Read(address, destination);
        if (result == MemoryReadResult.NotFetched)
        {
            _missing?.Add(new AddressRange(address, address + (ulong)destination.Length));
        }

        return result;
    }

    public ExpressionOutcome ReadNumber(ulong address, int size, ref ValueSources sources, out ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        bytes.Clear();
        value = address;
        if (size is < 1 or > 8)
        {
            return ExpressionOutcome.Unusable;
        }

        sources |= ValueSources.Memory;
        switch (Read(address, bytes[..size]))
        {
            case MemoryReadResult.Ok:
                value = BinaryPrimitives.ReadUInt64LittleEndian(bytes);
                return ExpressionOutcome.Value;
            case MemoryReadResult.NotFetched:
                return ExpressionOutcome.NotFetched;
            default:
                return ExpressionOutcome.Unreadable;
        }
    }

    /// <summary>A register that functions give back as they found it, as a frame's function found it: what its caller has in it.</summary>
    public bool TryKept(int frame, int register, out ulong value, ref ValueSources sources)
    {
        value = 0;
        if (frame + 1 >= Stack.Frames.Length || !Stack.Frames[frame + 1].IsCall || !Architecture.CalleeSavedRegisters.Contains(register))
        {
            return false;
        }

        var registers = Stack.Frames[frame + 1].Registers;
        value = registers[register];
        sources |= ValueSources.Register;
        return registers.IsKnown(register) || TryRecoverRegister(frame + 1, register, out value, ref sources);
    }

    /// <summary>A frame's CFA: its caller's stack pointer, where that was found by a call's rule.</summary>
    public ExpressionOutcome FrameAddress(int frame, out ulong value)
    {
        if (frame + 1 < Stack.Frames.Length && Stack.Frames[frame + 1] is { IsCall: true, Rule: UnwindRule.Cfi or UnwindRule.Orc or UnwindRule.FramePointer } caller)
        {
            value = caller.Registers.StackPointer;
            return ExpressionOutcome.Value;
        }

        value = 0;
        var registers = Stack.Frames[frame].Registers;
        foreach (var row in map.Unwind.FindRows(Stack.Frames[frame].LookupAddress))
        {
            var rule = row.Cfa;
            if (row.Shape != FrameShape.Call)
            {
                continue;
            }

            if (rule.Kind == CfaKind.Expression)
            {
                return rule.Expression!.Evaluate(registers, _memory, null, out value);
            }

            if (!registers.IsKnown(rule.Register))
            {
                return ExpressionOutcome.Unusable;
            }

            value = Truncate(registers[rule.Register] + (ulong)rule.Offset);
            if (rule.Kind != CfaKind.Dereferenced)
            {
                return ExpressionOutcome.Value;
            }

            var sources = ValueSources.None;
            var outcome = ReadNumber(value, Architecture.WordSize, ref sources, out value);
            value = outcome == ExpressionOutcome.Value ? Truncate(value + (ulong)rule.OffsetAfter) : value;
            return outcome;
        }

        return ExpressionOutcome.Unusable;
    }

    public bool TryRecoverRegister(int frame, int register, out ulong value, ref ValueSources sources) =>
        Take(_recovery?.Register(Stack.Frames, frame, register, _memory), Architecture.WordSize, out value, out _, ref sources);

    public bool TryRecoverAtEntry(int frame, int register, out ulong value, out int size, ref ValueSources sources) =>
        Take(_recovery?.EntryRegister(Stack.Frames, frame, register, _memory), 1, out value, out size, ref sources);

    /// <summary>What a function was entered with that left by a tail call: what it passed on.</summary>
    public bool TryRecoverPassedOn(int frame, ReadOnlySpan<ulong> jumps, int register, out ulong value, out int size, ref ValueSources sources) =>
        Take(_recovery?.PassedOn(Stack.Frames, frame, jumps, register, _memory), 1, out value, out size, ref sources);

    public bool TryRecoverSlot(int frame, long offset, int size, out ulong value, ref ValueSources sources) =>
        Take(_recovery?.EntrySlot(Stack.Frames, frame, offset, size, _memory), size, out value, out _, ref sources);

    public bool TryRecoverAt(int frame, ulong address, int register, int size, out ulong value, ref ValueSources sources) =>
        Take(_recovery?.RegisterAt(Stack.Frames, frame, address, register, _memory), size, out value, out _, ref sources);

    /// <summary>The frame's activation came through an address of its function, whatever way it took.</summary>
    public bool MustHavePassed(int frame, ulong address) => _recovery?.MustHavePassed(Stack.Frames, frame, address) == true;

    public bool TryRecoverLoaded(int frame, ulong address, LoadedTerm term, int size, out ulong value, ref ValueSources sources) =>
        Take(_recovery?.LoadedAt(Stack.Frames, frame, address, term, _memory), size, out value, out _, ref sources);

    private bool Take(RecoveredValue? answer, int needed, out ulong value, out int size, ref ValueSources sources)
    {
        (value, size) = (0, 0);
        if (answer is not { } found)
        {
            return false;
        }

        if (found.Outcome == RecoveryOutcome.MemoryMissing)
        {
            _missing?.Add(new AddressRange(found.Value, found.Value + (ulong)Math.Max(found.Bits / 8, 1)));
        }

        if (!found.Covers(needed))
        {
            return false;
        }

        // On i386 all of a word is 32 bits.
        (value, size) = (found.Value, found.Bits == Architecture.WordSize * 8 ? 8 : found.Bits / 8);
        sources |= ValueSources.Recovered;
        return true;
    }

    private ulong Truncate(ulong value) => Architecture.WordSize == 4 ? (uint)value : value;
}
