// Flags: Intel SDM volume 1, figure 3-8 (EFLAGS); volume 3, 2.5 (CR0, CR4) and 2.2.1 (EFER).
using System.Collections.Immutable;
using System.Globalization;
using KTrace.Rsp;
using KTrace.Symbols.Kernel;

namespace KTrace.Tui.Targets;

/// <summary>A CPU's registers for the screen: what changed since the stop before, flags by name, addresses by symbol.</summary>
internal sealed class RegisterRows
{
    private static readonly ImmutableArray<(int Bit, string Name)> s_eflags =
    [
        (0, "CF"), (2, "PF"), (4, "AF"), (6, "ZF"), (7, "SF"), (8, "TF"), (9, "IF"), (10, "DF"), (11, "OF"), (14, "NT"), (16, "RF"), (17, "VM"), (18, "AC"), (19, "VIF"),
        (20, "VIP"), (21, "ID"),
    ];

    private static readonly ImmutableArray<(int Bit, string Name)> s_cr0 =
        [(0, "PE"), (1, "MP"), (2, "EM"), (3, "TS"), (4, "ET"), (5, "NE"), (16, "WP"), (18, "AM"), (29, "NW"), (30, "CD"), (31, "PG")];

    private static readonly ImmutableArray<(int Bit, string Name)> s_cr4 =
    [
        (0, "VME"), (1, "PVI"), (2, "TSD"), (3, "DE"), (4, "PSE"), (5, "PAE"), (6, "MCE"), (7, "PGE"), (8, "PCE"), (9, "OSFXSR"), (10, "OSXMMEXCPT"), (11, "UMIP"), (12, "LA57"), (13, "VMXE"),
        (14, "SMXE"), (16, "FSGSBASE"), (17, "PCIDE"), (18, "OSXSAVE"), (20, "SMEP"), (21, "SMAP"), (22, "PKE"), (23, "CET"), (24, "PKS"),
    ];

    private static readonly ImmutableArray<(int Bit, string Name)> s_efer = [(0, "SCE"), (8, "LME"), (10, "LMA"), (11, "NXE"), (12, "SVME")];

    // Vector registers and the x87's would be a hundred lines that a kernel's debugger hardly ever looks at: `info registers NAME` has them.
    private const int MaximumRows = 64;

    // Below are the templates of per-cpu variables (on x86-64 from 0 on), to which no small number points.
    private const ulong LowestAddress = 1 << 24;

    private readonly Dictionary<(int Cpu, string Name), ulong> _before = [];

    public ImmutableArray<RegisterRow> Of(int cpu, RegisterBlock block, KernelMap? map)
    {
        var rows = ImmutableArray.CreateBuilder<RegisterRow>();
        foreach (var register in block.Layout.Registers)
        {
            if (rows.Count < MaximumRows && IsShown(register) && block.TryGetValue(register, out var value))
            {
                var changed = _before.TryGetValue((cpu, register.Name), out var before) && before != value;
                _before[(cpu, register.Name)] = value;
                rows.Add(new RegisterRow(register.Name, value, changed, Meaning(register, value, map)));
            }
        }

        return rows.ToImmutable();
    }

    private static bool IsShown(RegisterDescription register) =>
        register.BitSize <= 64 && !register.Name.StartsWith("st", StringComparison.Ordinal) && register.Name is not ("fctrl" or "fstat" or "ftag" or "fiseg" or "fioff" or "foseg" or "fooff" or "fop" or "mxcsr");

    /// <summary>What a word would point to, as <c>x/a</c> says it; null: nothing that has a name.</summary>
    public static string? NameOf(KernelMap? map, ulong value) => value >= LowestAddress ? map?.NameOf(value) : null;

    /// <summary>The flags of a register that has some; null: it has none.</summary>
    public static string? FlagsOf(string name, ulong value) => name switch
    {
        "eflags" or "rflags" => Flags(s_eflags, value) + (((value >> 12) & 3) is var level and > 0 ? string.Create(CultureInfo.InvariantCulture, $" IOPL={level}") : ""),
        "cr0" => Flags(s_cr0, value),
        "cr4" => Flags(s_cr4, value),
        "efer" => Flags(s_efer, value),
        "cs" when value != 0 => (value & 3) == 3 ? "user" : "kernel",
        _ => null,
    };

    private static string? Meaning(RegisterDescription register, ulong value, KernelMap? map) =>
        FlagsOf(register.Name, value) ?? (register.BitSize >= 32 ? NameOf(map, value) : null);

    private static string Flags(ImmutableArray<(int Bit, string Name)> flags, ulong value) => string.Join(' ', flags.Where(f => ((value >> f.Bit) & 1) != 0).Select(f => f.Name));
}
