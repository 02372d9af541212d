using KTrace.Debugger.NonStop.Reading;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;

namespace KTrace.Debugger.NonStop.Conditions;

/// <summary>What names mean at a function's entry before anything runs: types, places of parameters, and addresses of the map. There is no memory to read.</summary>
internal sealed class EntryScope(KernelMap map, ITypeSource types, IReadOnlyDictionary<string, EntryPlace> parameters, IReadOnlySet<string> locals) : IExpressionScope, IMemoryReader
{
    public Architecture Architecture => map.Image.Architecture;

    public ITypeSource Types => types;

    public IMemoryReader Memory => this;

    public int Cpu => 0;

    public TypedValue? CurrentTask => null;

    /// <summary>The function that is entered, as the map has it.</summary>
    public required ulong Entry { get; init; }

    /// <summary>The module of the function, whose variables have their addresses; null for the kernel.</summary>
    public required string? Module { get; init; }

    /// <summary>As <see cref="KernelTypes"/> has it: such addresses are no place in the kernel's image.</summary>
    public bool IsPerCpuOffset(ulong address) => address < map.Image.KernelMapBase;

    public EntryPlace? FindParameter(string name) => parameters.GetValueOrDefault(name);

    /// <summary>A variable of the function that has no value at its entry.</summary>
    public bool IsLocal(string name) => locals.Contains(name);

    public FrameVariable? FindLocal(string name) => FindParameter(name)?.Variable ?? (IsLocal(name) ? new FrameVariable(name, VoidType.Instance, IsParameter: false, null) : null);

    public TypedValue? FindRegister(string name) => null;

    public ulong? PerCpuOffset(int cpu) => null;

    public string? NameOf(ulong address) => map.NameOf(address);

    public IReadOnlyList<string> SuggestNames(string name, int limit) =>
        [.. parameters.Keys.Where(p => p.Contains(name, StringComparison.OrdinalIgnoreCase) || name.Contains(p, StringComparison.OrdinalIgnoreCase)).Take(limit)];

    MemoryReadResult IMemoryReader.Read(ulong address, Span<byte> destination) => MemoryReadResult.Unreadable;
}
