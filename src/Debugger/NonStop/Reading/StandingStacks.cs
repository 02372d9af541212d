using KTrace.Debugger.NonStop.Guest;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.NonStop.Reading;

/// <summary>Stacks of a guest that stands still while functions lead to trampolines: what hits that stop the machine are told. What was replaced, the guest's own return entries tell.</summary>
internal sealed class StandingStacks(KernelMap map, NonStopReadingOptions code, NonStopMemory guest)
{
    // As many functions may have left by tail calls, one after the other.
    private const int MaximumChain = 64;

    private TracerText? _text;
    private UnwindTable? _kernel;

    /// <summary>Walks one as <see cref="StackUnwinder"/> does.</summary>
    public UnwindResult Unwind(RegisterSet registers, IMemoryReader memory)
    {
        if (_text is null || _kernel != map.Unwind)
        {
            _kernel = map.Unwind;
            _text = new TracerText(_kernel, code, Original, map.Image.Architecture);
        }

        return _text.Unwind(registers, code.Stubs is null ? memory : new Restored(memory, map.Image.Architecture.WordSize, Original));
    }

    private ulong Original(ulong word)
    {
        for (var i = 0; i < MaximumChain && code.Stubs?.IndexIn(word) is { } index; i++)
        {
            word = guest.ReturnAddressOf(index);
        }

        return word;
    }

    private sealed class Restored(IMemoryReader memory, int wordSize, Func<ulong, ulong> original) : IMemoryReader
    {
        public MemoryReadResult Read(ulong address, Span<byte> destination)
        {
            var result = memory.Read(address, destination);
            if (result == MemoryReadResult.Ok && destination.Length == wordSize)
            {
                ReplacedWord.Restore(destination, original);
            }

            return result;
        }
    }
}
