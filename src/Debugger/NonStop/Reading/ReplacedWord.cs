using System.Buffers.Binary;

namespace KTrace.Debugger.NonStop.Reading;

/// <summary>A word of a stack that may be a return stub's address.</summary>
internal static class ReplacedWord
{
    /// <summary>Puts back what was there before.</summary>
    /// <param name="word">4 or 8 bytes.</param>
    /// <param name="original">Tells it; itself when nothing was replaced.</param>
    public static void Restore(Span<byte> word, Func<ulong, ulong> original)
    {
        var value = word.Length == 8 ? BinaryPrimitives.ReadUInt64LittleEndian(word) : BinaryPrimitives.ReadUInt32LittleEndian(word);
        if (original(value) is var before && before == value)
        {
            return;
        }

        if (word.Length == 8)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(word, before);
        }
        else
        {
            BinaryPrimitives.WriteUInt32LittleEndian(word, (uint)before);
        }
    }
}
