// The rate of the clock is refined while a guest boots, and written again at the end: whoever reads hits from the beginning wants the last word first.
using System.Text;
using System.Text.Json;
using KTrace.Symbols;

namespace KTrace.Tracing;

/// <summary>What the end of a trace says, without reading the rest.</summary>
internal static class LastLines
{
    // Behind the rate there are figures, last console lines and the end.
    private const int Length = 64 << 10;

    private static ReadOnlySpan<byte> Begin => "\n{\"type\":\"clock_rate\""u8;

    /// <summary>The last clock_rate record near the end of a file that can be sought in; null when there is none. The file's position stays.</summary>
    public static TraceRecord.ClockRate? FindClockRate(FileStream file, string name)
    {
        var bytes = new byte[Math.Min(Length, file.Length)];
        int read = RandomAccess.Read(file.SafeFileHandle, bytes, Math.Max(0, file.Length - bytes.Length));
        Span<byte> tail = bytes.AsSpan(0, read);
        int start = tail.LastIndexOf(Begin);
        if (start < 0 || tail[(start + 1)..].IndexOf((byte)'\n') is not (>= 0 and var length))
        {
            return null;
        }

        try
        {
            var json = new RecordJson(bytes.AsMemory(start + 1, length), name, 0);
            json.FindType(out _);
            return NonStopParts.ClockRate(ref json);
        }
        catch (Exception e) when (e is JsonException or MalformedFileException)
        {
            // Whoever reads as far says so, with its line.
            return null;
        }
    }
}
