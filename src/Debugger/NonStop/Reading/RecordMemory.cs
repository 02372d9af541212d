using KTrace.Debugger.NonStop.Ring;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.NonStop.Reading;

/// <summary>The stacks that one record copied, as memory. Return addresses that were replaced read as what they were.</summary>
internal sealed class RecordMemory(OpenReturns returns, int wordSize) : IMemoryReader
{
    private readonly byte[] _bytes = new byte[RingRecord.MaximumSize];
    private readonly (ulong Address, int Start, int Length)[] _windows = new (ulong, int, int)[RecordFormat.MaximumWindows];
    private int _count;

    public void Enter(RingRecord record)
    {
        _count = record.WindowCount;
        var start = 0;
        for (var i = 0; i < _count; i++)
        {
            var window = record.Window(i, out var address, out _);
            window.CopyTo(_bytes.AsSpan(start));
            _windows[i] = (address, start, window.Length);
            start += window.Length;
        }
    }

    /// <summary>What is in no window was not fetched: it may well be there, and the unwinder must not believe otherwise.</summary>
    public MemoryReadResult Read(ulong address, Span<byte> destination)
    {
        for (var i = 0; i < _count; i++)
        {
            ref readonly var window = ref _windows[i];
            var offset = address - window.Address;
            if (offset < (ulong)window.Length && (ulong)destination.Length <= (ulong)window.Length - offset)
            {
                _bytes.AsSpan(window.Start + (int)offset, destination.Length).CopyTo(destination);
                if (destination.Length == wordSize)
                {
                    ReplacedWord.Restore(destination, returns.Original);
                }

                return MemoryReadResult.Ok;
            }
        }

        return MemoryReadResult.NotFetched;
    }

    /// <summary>The bound on stack copies is why these bytes are not there: they lie behind a window that was cut, on the same stack.</summary>
    public static bool IsCutAt(RingRecord record, ulong address, int length)
    {
        for (var i = 0; i < record.WindowCount; i++)
        {
            var window = record.Window(i, out var start, out var isCut);
            if (isCut && address >= start && address + (ulong)length - start - (ulong)window.Length is > 0 and <= KernelStacks.LargestStack)
            {
                return true;
            }
        }

        return false;
    }
}
