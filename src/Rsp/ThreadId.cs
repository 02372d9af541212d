// GDB Remote Serial Protocol, "Packets", thread-id syntax: `TID`, or with multiprocess `pPID.TID`; -1 is all, 0 is any; `pPID` alone means
// all threads of that process. QEMU's "threads" are the machine's CPUs, numbered from 1; its "process" is a CPU cluster, 1.
using System.Globalization;

namespace KTrace.Rsp;

/// <summary>A thread as the stub numbers it; for QEMU, a CPU.</summary>
/// <param name="Process">The process of the multiprocess form, or null without it.</param>
/// <param name="Thread">-1 for all threads, 0 for any.</param>
public readonly record struct ThreadId(long? Process, long Thread)
{
    public static ThreadId All { get; } = new(null, -1);

    public static ThreadId Any { get; } = new(null, 0);

    /// <summary>False when the text is no thread id.</summary>
    public static bool TryParse(ReadOnlySpan<byte> text, out ThreadId id)
    {
        id = default;
        if (!text.StartsWith("p"u8))
        {
            var plain = TryParseNumber(text, out var only);
            id = new ThreadId(null, only);
            return plain;
        }

        text = text[1..];
        var dot = text.IndexOf((byte)'.');
        if (!TryParseNumber(dot < 0 ? text : text[..dot], out var process))
        {
            return false;
        }

        var thread = -1L;
        if (dot >= 0 && !TryParseNumber(text[(dot + 1)..], out thread))
        {
            return false;
        }

        id = new ThreadId(process, thread);
        return true;
    }

    public override string ToString() => Process is { } process ? $"p{Number(process)}.{Number(Thread)}" : Number(Thread);

    internal void Write(PacketWriter packet)
    {
        if (Process is { } process)
        {
            packet.Text("p"u8);
            WriteNumber(packet, process);
            packet.Text("."u8);
        }

        WriteNumber(packet, Thread);
    }

    private static void WriteNumber(PacketWriter packet, long number)
    {
        if (number < 0)
        {
            packet.Text("-1"u8);
        }
        else
        {
            packet.Hex((ulong)number);
        }
    }

    private static string Number(long number) => number < 0 ? "-1" : number.ToString("x", CultureInfo.InvariantCulture);

    private static bool TryParseNumber(ReadOnlySpan<byte> text, out long number)
    {
        number = -1;
        if (text.SequenceEqual("-1"u8))
        {
            return true;
        }

        var parsed = HexText.TryParse(text, out var value) && value <= long.MaxValue;
        number = (long)value;
        return parsed;
    }
}
