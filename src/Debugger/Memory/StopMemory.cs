using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Memory;

/// <summary>
/// Guest memory at one stop: what was fetched, and the way to fetch more, many places in one round trip. Who reads it synchronously (the unwinder, an
/// expression, a printer of values) names what was missing; it is fetched, and they read again.
/// </summary>
internal sealed class StopMemory(RspClient client) : IMemoryReader
{
    private const int PageSize = 4096;
    private const int MaximumBatch = 32;

    // Bytes between two reads that are worth reading along.
    private const int NearEnough = 192;

    private readonly FetchedMemory _memory = new();
    private readonly RspOutcome[] _outcomes = new RspOutcome[MaximumBatch];
    private readonly List<RspCommand> _batch = new(MaximumBatch);
    private readonly HashSet<(ulong Address, int Length)> _noted = [];
    private bool _isNoting;

    /// <summary>Another stop: nothing is known any more.</summary>
    public void Clear()
    {
        _memory.Clear();
        _batch.Clear();
    }

    /// <summary>Sends a command along with the next fetch.</summary>
    /// <returns>Its place in the batch, for <see cref="IsOk"/>.</returns>
    public int Add(RspCommand command)
    {
        _batch.Add(command);
        return _batch.Count - 1;
    }

    public bool IsOk(int place) => _outcomes[place].IsOk;

    /// <summary>
    /// Puts reads of what is not known yet into the batch; true when there are any. None crosses a page, so that a missing page refuses only itself. What
    /// does not fit into the batch is left out: who needs it asks again.
    /// </summary>
    public bool Want(ulong start, int length)
    {
        var wanted = false;
        while (length > 0 && _batch.Count < MaximumBatch)
        {
            var piece = (int)Math.Min((ulong)Math.Min(length, client.Features.MaxMemoryRead), PageSize - (start % PageSize));
            if (!_memory.Knows(start, piece))
            {
                _batch.Add(new ReadMemory(start, new byte[piece]));
                wanted = true;
            }

            start += (ulong)piece;
            length -= piece;
        }

        return wanted;
    }

    /// <summary>Sends the batch and takes the answers.</summary>
    public async ValueTask FetchAsync(CancellationToken cancellationToken)
    {
        if (_batch.Count == 0)
        {
            return;
        }

        await client.SendBatchAsync(_batch.ToArray(), _outcomes, cancellationToken);
        for (var i = 0; i < _batch.Count; i++)
        {
            if (_batch[i] is not ReadMemory read)
            {
                continue;
            }

            if (_outcomes[i].IsOk && _outcomes[i].Length > 0)
            {
                _memory.Add(read.Address, read.Destination[.._outcomes[i].Length]);
            }
            else
            {
                _memory.AddUnreadable(read.Address, (ulong)read.Destination.Length);
            }
        }

        _batch.Clear();
    }

    public MemoryReadResult Read(ulong address, Span<byte> destination)
    {
        if (_isNoting)
        {
            _noted.Add((address, destination.Length));
        }

        return _memory.Read(address, destination);
    }

    /// <summary>From now on it is noted what is read.</summary>
    public void BeginNoting()
    {
        _noted.Clear();
        _isNoting = true;
    }

    /// <summary>What was read since <see cref="BeginNoting"/>, ascending; what lies close together is one range, as a request costs the stub more than some bytes.</summary>
    public IEnumerable<(ulong Address, int Length)> EndNoting()
    {
        _isNoting = false;
        (ulong Start, ulong End)? open = null;
        foreach (var (address, length) in _noted.Order())
        {
            var end = address + (ulong)length;
            if (open is { } range && address <= range.End + NearEnough && end / PageSize == range.Start / PageSize)
            {
                open = (range.Start, Math.Max(range.End, end));
                continue;
            }

            if (open is { } done)
            {
                yield return (done.Start, (int)(done.End - done.Start));
            }

            open = (address, end);
        }

        if (open is { } last)
        {
            yield return (last.Start, (int)(last.End - last.Start));
        }
    }
}
