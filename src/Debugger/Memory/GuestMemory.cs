using System.Buffers.Binary;
using System.Text;
using KTrace.Rsp;

namespace KTrace.Debugger.Memory;

/// <summary>Reads of a stopped guest's memory, in the sizes that kernel structures have. "Not there" is null or false; a broken stub throws RspException.</summary>
public sealed class GuestMemory(RspClient client, int wordSize)
{
    private const int MaximumString = 256;

    private readonly byte[] _word = new byte[8];

    public async ValueTask<bool> TryReadAsync(ulong address, Memory<byte> destination, CancellationToken cancellationToken)
    {
        var read = await client.ReadMemoryAsync(address, destination, cancellationToken);
        return read.IsComplete;
    }

    /// <summary>A pointer or unsigned long.</summary>
    public async ValueTask<ulong?> TryReadWordAsync(ulong address, CancellationToken cancellationToken)
    {
        _word.AsSpan().Clear();
        return await TryReadAsync(address, _word.AsMemory(0, wordSize), cancellationToken) ? BinaryPrimitives.ReadUInt64LittleEndian(_word) : null;
    }

    public async ValueTask<uint?> TryReadUInt32Async(ulong address, CancellationToken cancellationToken)
    {
        var bytes = _word.AsMemory(0, 4);
        return await TryReadAsync(address, bytes, cancellationToken) ? BinaryPrimitives.ReadUInt32LittleEndian(bytes.Span) : null;
    }

    /// <summary>
    /// A NUL-terminated string of at most <paramref name="limit"/> bytes (cut there), as UTF-8 with bad bytes replaced. Null when its first byte cannot be read.
    /// The text is the guest's: it may hold anything, and has to be sanitised before a terminal sees it.
    /// </summary>
    public async ValueTask<string?> TryReadStringAsync(ulong address, int limit, CancellationToken cancellationToken)
    {
        var bytes = new byte[Math.Clamp(limit, 1, MaximumString)];
        var read = await client.ReadMemoryAsync(address, bytes, cancellationToken);
        if (read.ReadableFromStart == 0)
        {
            return null;
        }

        var text = bytes.AsSpan(0, read.ReadableFromStart);
        var end = text.IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? text : text[..end]);
    }
}
