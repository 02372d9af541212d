using System.Buffers.Binary;

namespace KTrace.Symbols.Unwind;

/// <summary>Copied pieces of stacks, for a <see cref="StackWalk"/>: at most three.</summary>
public ref struct WalkMemory
{
    private ReadOnlySpan<byte> _first;
    private ReadOnlySpan<byte> _second;
    private ReadOnlySpan<byte> _third;
    private ulong _firstAddress;
    private ulong _secondAddress;
    private ulong _thirdAddress;
    private int _count;

    /// <summary>Words from this value on, <see cref="ReplacedLength"/> of them, are what somebody put into the place of a return address.</summary>
    public ulong Replaced { get; init; }

    public ulong ReplacedLength { get; init; }

    /// <summary>What was there before.</summary>
    public Func<ulong, ulong>? Original { get; init; }

    /// <exception cref="InvalidOperationException">There are three already.</exception>
    public void Add(ulong address, ReadOnlySpan<byte> bytes)
    {
        switch (_count++)
        {
            case 0:
                _firstAddress = address;
                _first = bytes;
                break;
            case 1:
                _secondAddress = address;
                _second = bytes;
                break;
            case 2:
                _thirdAddress = address;
                _third = bytes;
                break;
            default:
                throw new InvalidOperationException("three pieces of stacks at most");
        }
    }

    /// <summary>A word that can be a return address.</summary>
    public readonly bool TryReadWord(ulong address, int size, out ulong word)
    {
        if (!TryRead(address, size, out var bytes))
        {
            word = 0;
            return false;
        }

        word = size == 8 ? BinaryPrimitives.ReadUInt64LittleEndian(bytes) : BinaryPrimitives.ReadUInt32LittleEndian(bytes);
        if (word - Replaced < ReplacedLength)
        {
            word = Original!(word);
        }

        return true;
    }

    public readonly bool TryRead(ulong address, int size, out ReadOnlySpan<byte> bytes) =>
        TryRead(_first, address - _firstAddress, size, out bytes) || TryRead(_second, address - _secondAddress, size, out bytes) || TryRead(_third, address - _thirdAddress, size, out bytes);

    private static bool TryRead(ReadOnlySpan<byte> piece, ulong offset, int size, out ReadOnlySpan<byte> bytes)
    {
        if (offset < (ulong)piece.Length && (ulong)size <= (ulong)piece.Length - offset)
        {
            bytes = piece.Slice((int)offset, size);
            return true;
        }

        bytes = default;
        return false;
    }
}
