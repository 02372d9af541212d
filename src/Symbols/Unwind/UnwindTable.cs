// Which source is believed where, learned by comparing them on Debian's 6.1 and 6.12 (tests: OrcAgreesWithCallFrames):
//  - CFI first: it restores every callee-saved register.
//  - Where both give sp + n and the n differ, ORC is right: gcc does not see pushes and stack switches in inline assembly
//    (native_save_fl, call_on_irqstack), objtool decodes the instructions. CFI's register rules hang on the CFA, so they
//    hold with ORC's CFA; the row then takes both. drgn prefers ORC for stack switches for the same reason.
//  - ORC alone for assembly; a frame pointer only where the object was built with them.
using System.Collections.Concurrent;
using System.Collections.Immutable;
using KTrace.Symbols.Arch;

namespace KTrace.Symbols.Unwind;

/// <summary>The unwind rows of the kernel and of all loaded modules. Immutable; <see cref="With"/> and <see cref="Without"/> make the next one. Thread-safe.</summary>
public sealed class UnwindTable : IUnwindTable
{
    // Rows are small and hot code is little: the bound only guards against a target that walks through everything.
    private const int MaximumCached = 1 << 16;

    private const int RetpolineSize = 32;
    private const int CallSize = 5;

    private readonly Architecture _architecture;
    private readonly ImmutableArray<UnwindObject> _objects;
    private readonly (AddressRange Range, UnwindObject Object)[] _ranges;
    private readonly ConcurrentDictionary<ulong, UnwindRow[]> _cache = new();
    private readonly ConcurrentDictionary<ulong, string?> _functions = new();

    public UnwindTable(Architecture architecture, ImmutableArray<UnwindObject> objects)
    {
        _architecture = architecture;
        _objects = objects;
        _ranges = [.. objects.SelectMany(o => o.Text.Select(range => (range, o))).OrderBy(r => r.range.Start)];
    }

    public ImmutableArray<UnwindObject> Objects => _objects;

    /// <summary>The table with one object more, or with another in the place of the one that has its name.</summary>
    public UnwindTable With(UnwindObject added) => new(_architecture, _objects.RemoveAll(o => o.Name == added.Name).Add(added));

    /// <summary>The table without the object of that name.</summary>
    public UnwindTable Without(string name) => new(_architecture, _objects.RemoveAll(o => o.Name == name));

    public bool IsText(ulong address) => ObjectAt(address) is not null;

    public string? FunctionAt(ulong address) =>
        _functions.TryGetValue(address, out var function) ? function : Keep(_functions, address, ObjectAt(address) is { } o ? o.SymbolAt(address - o.Slide)?.Name : null);

    public RuntimeTextAnswer FindRuntimeText(ulong address, IMemoryReader memory)
    {
        foreach (var o in _objects)
        {
            if (o.OutOfLine?.TryFindFunction(address - o.Slide, out var original) == true)
            {
                return new RuntimeTextAnswer(original + o.Slide, null);
            }

            if (o.RuntimeText?.Value is { } text)
            {
                return text.Find(address, o.Slide, memory);
            }
        }

        return default;
    }

    public ReadOnlySpan<UnwindRow> FindRows(ulong address)
    {
        if (_cache.TryGetValue(address, out var rows))
        {
            return rows;
        }

        return Keep(_cache, address, Find(address));
    }

    private static T Keep<T>(ConcurrentDictionary<ulong, T> kept, ulong address, T found)
    {
        if (kept.Count >= MaximumCached)
        {
            kept.Clear();
        }

        return kept[address] = found;
    }

    private UnwindRow[] Find(ulong address)
    {
        if (ObjectAt(address) is not { } o)
        {
            return [];
        }

        var linked = address - o.Slide;
        var cfi = o.CallFrames?.FindRow(linked);
        var orc = o.Orc?.FindRow(linked);
        if (cfi is null && o.SymbolAt(linked) is { } thunk && KernelEntries.IsIndirectThunk(thunk.Name))
        {
            // Before its call of itself a retpoline has pushed nothing, behind it one word (ORC gives up at the first half). The thunks
            // stand 32 bytes apart under one symbol or several. Patched ones jump at once, from within the first five bytes.
            return [(linked - thunk.Start) % RetpolineSize < CallSize ? FramePointerRows.AtEntry(_architecture) : FramePointerRows.BehindOnePush(_architecture)];
        }

        UnwindRow[] rows = (cfi, orc) switch
        {
            (null, null) => [],
            (not null, null) => [cfi],
            (null, not null) => [orc],
            _ when IsOrcRight(cfi, orc, _architecture.StackPointer) => [cfi with { Rule = UnwindRule.Orc, Cfa = orc.Cfa, Saved = WithoutFramePointer(cfi, orc) }, cfi],
            _ => [cfi, orc],
        };
        if (rows.Length == 0 && o.FramePointers?.FindRow(linked) is { } guess)
        {
            rows = [guess];
        }
        else if (rows.Length == 0 && o.SymbolAt(linked) is { } symbol && symbol.Start == linked)
        {
            // Nothing has been pushed yet, whoever wrote the function.
            rows = [FramePointerRows.AtEntry(_architecture)];
        }

        return rows;
    }

    private static bool IsOrcRight(UnwindRow cfi, UnwindRow orc, int stackPointer)
    {
        if (orc.Shape != FrameShape.Call)
        {
            return false;
        }

        return (orc.Cfa.Kind == CfaKind.Dereferenced && orc.Cfa.Register == stackPointer)
            || (cfi.Cfa is { Kind: CfaKind.Register } && cfi.Cfa.Register == stackPointer
                && orc.Cfa is { Kind: CfaKind.Register } && orc.Cfa.Register == stackPointer
                && cfi.Cfa.Offset != orc.Cfa.Offset);
    }

    /// <summary>CFI's rules, all of them relative to the CFA; the frame pointer's as ORC has it.</summary>
    private static ImmutableArray<SavedRegister> WithoutFramePointer(UnwindRow cfi, UnwindRow orc) =>
        [.. cfi.Saved.Where(s => s.Register != X86_64.Rbp), new SavedRegister(X86_64.Rbp, orc.RuleOf(X86_64.Rbp))];

    private UnwindObject? ObjectAt(ulong address)
    {
        int low = 0, high = _ranges.Length;
        while (low < high)
        {
            var middle = (low + high) >>> 1;
            if (_ranges[middle].Range.Start <= address)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low > 0 && _ranges[low - 1].Range.Contains(address) ? _ranges[low - 1].Object : null;
    }
}
