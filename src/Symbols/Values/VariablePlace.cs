using System.Buffers.Binary;
using System.Collections.Immutable;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Dwarf.Locations;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Recovery;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Values;

/// <summary>What is known of one address of code before any register is looked at: the functions there, and how their variables are found.</summary>
internal sealed class VariablePlace
{
    /// <summary>For a place that is being executed: a call there is under way, so that everything inlined around it was entered.</summary>
    public const int Running = -1;

    /// <summary>For a place at which the CPU stands: functions that are inlined there and begin there have not been entered yet.</summary>
    public const int AllAtTheirBegin = -2;

    private const int MaximumNodes = 256;

    /// <summary>The unit of the function with the stack frame; null where there is no debug information.</summary>
    public Unit? Unit { get; private init; }

    /// <summary>The function that has the stack frame.</summary>
    public DwarfFunction Function { get; private init; }

    public KernelCalls.Part Part { get; private init; }

    /// <summary>Address of the place, in the object file.</summary>
    public ulong Address { get; private init; }

    public ulong RunTimeAddress => Part.ToRunTime(Address);

    /// <summary>Where the function is entered, at run time; 0 when not known.</summary>
    public ulong Entry { get; private init; }

    /// <summary>The innermost frame stands before its function's first real instruction: nothing was changed since the call.</summary>
    public bool IsAtEntry { get; private init; }

    public bool IsExternal { get; private init; }

    public ExpressionBytes FrameBase { get; private init; }

    /// <summary>As many as the place has names, in their order; of those without debug information null.</summary>
    public ImmutableArray<FrameScope?> Scopes { get; private init; } = [];

    /// <param name="notEntered"><see cref="Running"/>; or the CPU stands at the address, and so many functions inlined there are about to be entered, or <see cref="AllAtTheirBegin"/>.</param>
    public static VariablePlace Read(KernelMap map, Func<Symbolizer, DwarfTypes> typesOf, ulong address, int notEntered)
    {
        var names = map.Symbolize(address);
        var isStopped = notEntered != Running;
        var begin = isStopped ? names.TakeWhile(f => f.IsInline && f.Offset == 0).Count() : 0;
        var skipped = notEntered < 0 ? begin : Math.Min(notEntered, begin);
        var part = map.Calls.At(address);
        try
        {
            var at = part.ToObject(address);
            if (part is { Calls: { } calls, Symbolizer: { } symbolizer } && calls.TryFindFunction(at, out var function))
            {
                return Read(map, typesOf(symbolizer), part, calls, in function, at, names.Count, skipped, isStopped);
            }
        }
        catch (MalformedFileException)
        {
            // Damage costs the function that has it.
        }

        return new VariablePlace { Part = part, Address = part.ToObject(address), Scopes = [.. new FrameScope?[names.Count - skipped]] };
    }

    private static VariablePlace Read(
        KernelMap map, DwarfTypes types, KernelCalls.Part part, CallSites calls, in DwarfFunction function, ulong at, int names, int skipped, bool isStopped)
    {
        var unit = calls.UnitAt(function.Unit);
        var tree = new InlineTree();
        tree.Load(unit, function.Entry, default);
        var chain = new List<int>();
        for (var index = tree.Innermost(at); index > 0 && chain.Count < MaximumNodes; index = tree[index].Parent)
        {
            chain.Add(tree[index].Entry);
        }

        chain.Add(function.Entry);
        var dies = chain.ConvertAll(entry => ScopeReader.Read(unit, entry, at));
        var scopes = new FrameScope?[names - skipped];
        var root = dies[^1];
        if (chain.Count == names)
        {
            var plans = new PlaceVariables(map, types, part, unit, at, function.Start, dies, isStopped ? 0 : CallInstructionAt(map, part, at));
            for (var i = dies.Count - 1; i >= skipped; i--)
            {
                var depth = i;
                scopes[i - skipped] = new FrameScope(
                    i == dies.Count - 1 ? plans.OfFunction() : plans.OfInline(i),
                    new Lazy<ImmutableArray<VariablePlan>>(() => plans.Locals(depth), LazyThreadSafetyMode.None),
                    IsInline: i < dies.Count - 1);
            }
        }

        return new VariablePlace
        {
            Unit = unit,
            Function = function,
            Part = part,
            Address = at,
            Entry = part.ToRunTime(function.Start),
            IsAtEntry = isStopped && IsBeforeFirstInstruction(map, part, function.Start, at),
            IsExternal = root.IsExternal,
            FrameBase = root.FrameBase,
            Scopes = [.. scopes],
        };
    }

    /// <summary>
    /// Where the call begins whose last byte is at an address, at run time: call rel32, or call through a register. 0 for others, as where they begin depends on what is before.
    /// </summary>
    private static ulong CallInstructionAt(KernelMap map, KernelCalls.Part part, ulong last)
    {
        Span<byte> code = stackalloc byte[5];
        if (!TryReadCode(map, part, last - 4, code))
        {
            return 0;
        }

        // An operand of another call may look like call rel32, but would hardly lead to code.
        var target = last + 1 + (ulong)BinaryPrimitives.ReadInt32LittleEndian(code[1..]);
        if (code[0] == 0xe8)
        {
            return map.Unwind.IsText(part.ToRunTime(target)) ? part.ToRunTime(last - 4) : 0;
        }

        return code[3] == 0xff && code[4] is >= 0xd0 and <= 0xd7 && (code[2] & 0xf0) != 0x40 ? part.ToRunTime(last - 1) : 0;
    }

    private static bool TryReadCode(KernelMap map, KernelCalls.Part part, ulong address, Span<byte> code)
    {
        if (part.Slid is not null)
        {
            return map.Image.TryRead(address, code);
        }

        if (map.ModuleAt(address)?.Code is not { } sections || part.Symbols is null || !part.Symbols.TryFindSection(address, out var section, out var start))
        {
            return false;
        }

        var bytes = sections.GetSection(section.Name).Span;
        var offset = address - start;
        if (offset > (ulong)bytes.Length || (ulong)bytes.Length - offset < (ulong)code.Length)
        {
            return false;
        }

        bytes.Slice((int)offset, code.Length).CopyTo(code);
        return true;
    }

    /// <summary>endbr64 and the call of __fentry__ (or the nop that replaced it) come before a function's own code, and change no register.</summary>
    private static bool IsBeforeFirstInstruction(KernelMap map, KernelCalls.Part part, ulong start, ulong at)
    {
        if (at == start)
        {
            return true;
        }

        Span<byte> code = stackalloc byte[16];
        if (at < start || at - start > 9 || !TryReadCode(map, part, start, code))
        {
            return false;
        }

        ReadOnlySpan<byte> endbr64 = [0xf3, 0x0f, 0x1e, 0xfa];
        ReadOnlySpan<byte> endbr32 = [0xf3, 0x0f, 0x1e, 0xfb];
        ReadOnlySpan<byte> nop = [0x0f, 0x1f, 0x44, 0x00, 0x00];
        var length = code.StartsWith(endbr64) || code.StartsWith(endbr32) ? 4 : 0;
        if (at - start == (ulong)length)
        {
            return true;
        }

        var isPatched = code[length..].StartsWith(nop) || (code[length] == 0xe8 && map.Image.Symbols.Find("__fentry__").Count > 0);
        return isPatched && at - start == (ulong)length + 5;
    }
}
