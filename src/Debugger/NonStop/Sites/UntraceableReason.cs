// Why a function has no tracer's no-op. Sections of kernel text that are never traced: include/asm-generic/vmlinux.lds.h and include/linux/compiler_types.h (noinstr), arch/x86/kernel/vmlinux.lds.S
// (6.1); files without: CFLAGS_REMOVE_x.o = $(CC_FLAGS_FTRACE) in the kernel's Makefiles.
using System.Collections.Immutable;
using System.Globalization;
using KTrace.Symbols;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.NonStop.Sites;

/// <summary>Says in words why code cannot be traced by the tracer's no-op: asked only of code that has none.</summary>
internal sealed class UntraceableReason
{
    /// <summary>Pieces of kernel text that nothing may trace, by the symbols around them.</summary>
    private static readonly (string Start, string End, string Words)[] Sections =
    [
        ("__noinstr_text_start", "__noinstr_text_end", "noinstr: entry code in which nothing may be traced"),
        ("__entry_text_start", "__entry_text_end", "entry code: assembly between user space and kernel"),
        ("__cpuidle_text_start", "__cpuidle_text_end", "cpuidle code, which is never traced"),
        ("__kprobes_text_start", "__kprobes_text_end", "code of the kernel's own probes, which is never traced"),
        ("__indirect_thunk_start", "__indirect_thunk_end", "assembly: a retpoline"),
    ];

    private readonly Symbolizer? _symbolizer;
    private readonly ImmutableArray<(AddressRange Range, string Words)> _ranges;
    private readonly HashSet<ulong> _blacklist;

    private UntraceableReason(Symbolizer? symbolizer, ImmutableArray<(AddressRange Range, string Words)> ranges, HashSet<ulong> blacklist)
    {
        _symbolizer = symbolizer;
        _ranges = ranges;
        _blacklist = blacklist;
    }

    /// <summary>The object was built with the function tracer.</summary>
    public bool HasTracer { get; set; }

    /// <summary>Units that have traced functions.</summary>
    public Lazy<HashSet<int>> TracedUnits { get; set; } = new(() => []);

    public static UntraceableReason Of(KernelImage image, bool hasTracer)
    {
        ulong? At(string name) => image.TryFindSymbol(name, out var symbol) ? symbol.Value : null;
        var ranges = ImmutableArray.CreateBuilder<(AddressRange, string)>();
        foreach (var (from, to, words) in Sections)
        {
            if (At(from) is { } start && At(to) is { } end && start < end)
            {
                ranges.Add((new AddressRange(start, end), words));
            }
        }

        var blacklist = new HashSet<ulong>();
        if (At("__start_kprobe_blacklist") is { } first && At("__stop_kprobe_blacklist") is { } last && last > first && last - first < 1 << 20)
        {
            var word = image.Architecture.WordSize;
            var entry = new byte[8];
            for (var at = first; at < last && image.TryRead(at, entry.AsSpan(0, word)); at += (ulong)word)
            {
                blacklist.Add(BitConverter.ToUInt64(entry));
            }
        }

        return new UntraceableReason(image.Symbolizer, ranges.ToImmutable(), blacklist) { HasTracer = hasTracer };
    }

    public static UntraceableReason Of(KernelModule module) => new(module.Symbolizer, [], []);

    public int UnitAt(ulong address) => _symbolizer?.UnitIdAt(address) ?? -1;

    public bool IsEntry(ulong address) => _symbolizer is not null && _symbolizer.IsCode(address)
        && _symbolizer.Symbols.TryFindNearest(address, out Symbols.Elf.ElfSymbol symbol) && symbol.Value == address && CloneName.Parse(symbol.Name).IsEntry;

    public string Of(ulong address)
    {
        if (_symbolizer is null)
        {
            return "no file of the module is known";
        }

        if (!_symbolizer.IsCode(address))
        {
            return "data, not code";
        }

        if (!HasTracer)
        {
            return _symbolizer.Module is null ? "the kernel was built without the function tracer" : "the module was built without the function tracer";
        }

        foreach (var (range, words) in _ranges)
        {
            if (range.Contains(address))
            {
                return words;
            }
        }

        if (!_symbolizer.Symbols.TryFindNearest(address, out Symbols.Elf.ElfSymbol symbol))
        {
            return "no function is known there";
        }

        if (symbol.Value != address)
        {
            return string.Create(CultureInfo.InvariantCulture, $"inside {symbol.Name}, not at its entry");
        }

        var name = CloneName.Parse(symbol.Name);
        return symbol.Name switch
        {
            _ when name.Prefix.Length > 0 => "padding before a function",
            _ when !name.IsEntry => "a piece that is jumped to, not called",
            _ when symbol.Name.StartsWith("__SCT__", StringComparison.Ordinal) => "the trampoline of a static call",
            _ when _symbolizer.IsAssemblyAt(address) => "assembly",
            _ when _blacklist.Contains(address) => "notrace, and on the kernel's list of places that take no probe",
            _ when UnitAt(address) is var unit and >= 0 && !TracedUnits.Value.Contains(unit) =>
                $"{_symbolizer.CompiledFileOf(unit) ?? "its file"} is compiled without the function tracer",
            _ => "notrace: marked so, or declared inline",
        };
    }
}
