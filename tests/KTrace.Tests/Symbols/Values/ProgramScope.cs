using KTrace.Symbols;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;

namespace KTrace.Tests.Symbols.Values;

/// <summary>A program in its file as a scope: memory is its sections.</summary>
internal sealed class ProgramScope : IExpressionScope, IMemoryReader
{
    private readonly ElfFile _file;
    private readonly Symbolizer _symbolizer;

    public ProgramScope(string path)
    {
        _file = ElfFile.Open(path);
        _symbolizer = new Symbolizer(_file);
        Architecture = Architecture.ForElfMachine(_file.Machine)!;
        Types = new ObjectTypes(_file, _symbolizer, _file.AddressSize);
    }

    public Architecture Architecture { get; }

    public ITypeSource Types { get; }

    public IMemoryReader Memory => this;

    public int Cpu => 0;

    public TypedValue? CurrentTask => null;

    public FrameVariable? FindLocal(string name) => null;

    public TypedValue? FindRegister(string name) => null;

    public ulong? PerCpuOffset(int cpu) => null;

    public string? NameOf(ulong address) => _symbolizer.Symbols.TryFindNearest(address, out var symbol) && address - symbol.Value < Math.Max(1, symbol.Size)
        ? symbol.Value == address ? symbol.Name : $"{symbol.Name}+0x{address - symbol.Value:x}"
        : null;

    public MemoryReadResult Read(ulong address, Span<byte> destination)
    {
        foreach (var section in _file.Sections)
        {
            if ((section.Flags & ElfSection.FlagAlloc) == 0 || address < section.Address || address - section.Address + (ulong)destination.Length > section.Size)
            {
                continue;
            }

            if (section.Type == ElfSection.TypeNobits)
            {
                destination.Clear();
            }
            else
            {
                section.Data.Span.Slice((int)(address - section.Address), destination.Length).CopyTo(destination);
            }

            return MemoryReadResult.Ok;
        }

        return MemoryReadResult.Unreadable;
    }
}
