using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;

namespace KTrace.Debugger.NonStop.Reading;

/// <summary>What values are printed with when the guest runs on: names and types, and of memory only the record's own.</summary>
internal sealed class RecordScope(KernelMap map, ITypeSource types, IMemoryReader memory) : IValueScope
{
    /// <summary>The same with other memory.</summary>
    public RecordScope With(IMemoryReader other) => new(map, types, other);

    public Architecture Architecture => map.Image.Architecture;

    public ITypeSource Types => types;

    public IMemoryReader Memory => memory;

    public string? NameOf(ulong address) => map.NameOf(address);
}
