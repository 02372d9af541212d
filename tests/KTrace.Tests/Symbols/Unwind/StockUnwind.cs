using KTrace.Symbols.Arch;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Orc;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Unwind;

/// <summary>The stock kernel's unwind tables, opened once for all tests.</summary>
internal static class StockUnwind
{
    private static readonly Lazy<ElfFile> LazyVmlinux = new(() => ElfFile.Open(StockKernel.Vmlinux));
    private static readonly Lazy<SymbolStarts> LazySymbols = new(() => SymbolStarts.Read(Vmlinux));
    private static readonly Lazy<UnwindObject> LazyKernel = new(() =>
        UnwindObject.ForKernel(Vmlinux, X86_64.Instance, 0, StockKernel.Release, a => Symbols.At(a)));

    public static ElfFile Vmlinux => LazyVmlinux.Value;

    public static SymbolStarts Symbols => LazySymbols.Value;

    public static UnwindObject Kernel => LazyKernel.Value;

    public static CallFrameTable CallFrames => (CallFrameTable)Kernel.CallFrames!;

    public static OrcTable Orc => (OrcTable)Kernel.Orc!;

    public static UnwindTable Table(Dictionary<string, Dictionary<string, ulong>> modules)
    {
        var table = new UnwindTable(X86_64.Instance, [Kernel]);
        foreach (var (name, sections) in modules)
        {
            table = table.With(LoadedModule.Open(name, StockKernel.DebugModule(name), StockKernel.Module(name), sections, StockKernel.Release));
        }

        return table;
    }

    /// <summary>One frame as the fixtures have it.</summary>
    public static string Describe(UnwoundFrame frame, UnwindTable table)
    {
        var o = table.Objects.FirstOrDefault(o => o.Text.Any(t => t.Contains(frame.LookupAddress)));
        if (o is null)
        {
            return $"{frame.Rule} 0x{frame.ProgramCounter:x}";
        }

        var symbol = o.SymbolAt(frame.LookupAddress - o.Slide)!.Value;
        var module = o.Name == "vmlinux" ? "" : $" [{o.Name}]";
        return $"{frame.Rule} {symbol.Name}+0x{frame.ProgramCounter - o.Slide - symbol.Start:x}{module}";
    }

    public static string Describe(UnwindStop stop) => stop switch
    {
        UnwindStop.UserSpace u => $"UserSpace pc=0x{u.Registers.ProgramCounter:x} sp=0x{u.Registers.StackPointer:x} syscall={u.SystemCallNumber?.ToString() ?? "none"}{(u.IsCompat ? " compat" : "")}",
        _ => stop.ToString().Replace("What =  ", "", StringComparison.Ordinal),
    };
}
