using System.Buffers.Binary;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;

namespace KTrace.Tests.Symbols.Unwind;

/// <summary>A tiny kernel: functions of 0x100 bytes from 0x10000 up, their rows, and words of memory.</summary>
internal sealed class FakeUnwind(Architecture architecture) : IUnwindTable, IMemoryReader
{
    private readonly List<(ulong Start, string Name, UnwindRow[] Rows)> _functions = [];
    private readonly Dictionary<ulong, ulong> _words = [];

    public List<ulong> Asked { get; } = [];

    public HashSet<ulong> Unreadable { get; } = [];

    public static UnwindRow Call(int register, long offset, params SavedRegister[] saved) =>
        new(UnwindRule.Cfi, FrameShape.Call, new CfaRule(CfaKind.Register, register, offset), [.. saved]);

    public UnwindRow CallBySp(long offset) =>
        Call(architecture.StackPointer, offset, new SavedRegister(architecture.ProgramCounter, new RegisterRule(RegisterRuleKind.AtCfa, -architecture.WordSize)));

    public ulong Function(string name, params UnwindRow[] rows)
    {
        var start = 0x10000 + (0x100 * (ulong)_functions.Count);
        _functions.Add((start, name, rows));
        return start;
    }

    public void Words(ulong address, params ulong[] words)
    {
        foreach (var word in words)
        {
            _words[address] = word;
            address += (ulong)architecture.WordSize;
        }
    }

    public RegisterSet At(ulong pc, ulong sp) => new(architecture) { [architecture.ProgramCounter] = pc, [architecture.StackPointer] = sp };

    public ReadOnlySpan<UnwindRow> FindRows(ulong address)
    {
        Asked.Add(address);
        return IsText(address) ? _functions[(int)((address - 0x10000) / 0x100)].Rows : [];
    }

    public bool IsText(ulong address) => address >= 0x10000 && address < 0x10000 + (0x100 * (ulong)_functions.Count);

    public string? FunctionAt(ulong address) => IsText(address) ? _functions[(int)((address - 0x10000) / 0x100)].Name : null;

    public MemoryReadResult Read(ulong address, Span<byte> destination)
    {
        var size = architecture.WordSize;
        for (var i = 0; i < destination.Length; i += size)
        {
            var at = address + (ulong)i;
            if (Unreadable.Contains(at))
            {
                return MemoryReadResult.Unreadable;
            }

            if (!_words.TryGetValue(at, out var word))
            {
                return MemoryReadResult.NotFetched;
            }

            if (size == 8)
            {
                BinaryPrimitives.WriteUInt64LittleEndian(destination[i..], word);
            }
            else
            {
                BinaryPrimitives.WriteUInt32LittleEndian(destination[i..], (uint)word);
            }
        }

        return MemoryReadResult.Ok;
    }
}
