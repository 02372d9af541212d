using System.Buffers.Binary;
using System.Numerics;

namespace KTrace.Debugger.NonStop.Reading;

/// <summary>Hashes of what repeats. What is found under a hash is compared: equal hashes cost time and nothing else.</summary>
internal static class Mix
{
    private const ulong Factor = 0x9e3779b97f4a7c15;

    public static ulong Of(ReadOnlySpan<byte> bytes)
    {
        var hash = (ulong)bytes.Length;
        for (; bytes.Length >= 8; bytes = bytes[8..])
        {
            hash = In(hash, BinaryPrimitives.ReadUInt64LittleEndian(bytes));
        }

        foreach (var rest in bytes)
        {
            hash = In(hash, rest);
        }

        return hash;
    }

    public static ulong Of(ReadOnlySpan<ulong> words, ulong hash)
    {
        foreach (var word in words)
        {
            hash = In(hash, word);
        }

        return hash;
    }

    public static ulong In(ulong hash, ulong word) => BitOperations.RotateLeft((hash ^ word) * Factor, 29);
}
