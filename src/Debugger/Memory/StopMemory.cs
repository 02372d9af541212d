using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Memory;

/// <summary>
/// Guest memory at one stop: mapped RAM, what was fetched, and the way to fetch more, many places in one round trip. Who reads it synchronously (the unwinder,
/// an expression, a printer of values) names what was missing; it is fetched, and they read again. Of mapped RAM nothing is ever missing.
/// </summary>
/// <param name="ram">The machine's RAM; null: everything is fetched from the stub.</param>
internal sealed class StopMemory(RspClient client, MappedRam? ram = null) : IMemoryReader
{
    private const int PageSize = 4096;
    private const int MaximumBatch = 32;

    // Bytes between two reads that are worth reading along.
    private const int NearEnough = 192;

    private readonly FetchedMemory _memory = new();
    private readonly AddressSpace? _space = ram is null ? null : new AddressSpace(ram);
    private readonly PagingRegisters? _paging = ram is null ? null : new PagingRegisters(client.Layout);
    private readonly RspOutcome[] _outcomes = new RspOutcome[MaximumBatch];
    private readonly List<RspCommand> _batch = new(MaximumBatch);
    private readonly HashSet<(ulong Address, int Length)> _noted = [];
    private Mapping _mapping = ram is null ? Mapping.None : Mapping.Unknown;
    private long _resumes;
    private bool _isNoting;

    /// <summary>Takes what is read, while it is set.</summary>
    public ReadTrail? Trail { get; set; }

    /// <summary>Whether the RAM of this stop can be read.</summary>
    private enum Mapping
    {
        /// <summary>All memory is the stub's.</summary>
        None,

        /// <summary>It could if the CPU's registers were known.</summary>
        Unknown,

        Entered,
    }

    /// <summary>Another stop: nothing is known any more.</summary>
    public void Clear()
    {
        _memory.Clear();
        _batch.Clear();
        _mapping = ram is null ? Mapping.None : Mapping.Unknown;
    }

    /// <summary>
    /// Takes the registers of the CPU whose virtual addresses are meant from now on. Until then RAM is not read, nor is anything fetched that may turn out to
    /// be RAM.
    /// </summary>
    public void Enter(RegisterBlock registers)
    {
        if (ram is null)
        {
            return;
        }

        _resumes = client.Resumes;
        if (_paging!.Read(registers) is { } mode)
        {
            _space!.Enter(mode);
            _mapping = Mapping.Entered;
        }
        else
        {
            _mapping = Mapping.None;
        }
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
    /// does not fit into the batch is left out: who needs it asks again. What mapped RAM answers is known.
    /// </summary>
    public bool Want(ulong start, int length)
    {
        var wanted = false;
        if (_mapping == Mapping.Unknown)
        {
            return false;
        }

        while (length > 0 && _batch.Count < MaximumBatch)
        {
            var piece = (int)Math.Min((ulong)Math.Min(length, client.Features.MaxMemoryRead), PageSize - (start % PageSize));
            if (!IsMapped(start) && !_memory.Knows(start, piece))
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

        var result = _mapping switch
        {
            Mapping.None => _memory.Read(address, destination),
            // The guest runs again: what RAM has now is of no stop.
            Mapping.Entered when _resumes == client.Resumes => ReadMapped(address, destination),
            _ => MemoryReadResult.NotFetched,
        };
        Trail?.Add(address, destination, result);
        return result;
    }

    private MemoryReadResult ReadMapped(ulong address, Span<byte> destination)
    {
        while (true)
        {
            var count = _space!.Read(address, destination, out var end);
            if (end != MemoryReadResult.NotFetched)
            {
                return end;
            }

            address += (ulong)count;
            destination = destination[count..];
            var piece = (int)Math.Min((ulong)destination.Length, PageSize - (address % PageSize));
            if (_memory.Read(address, destination[..piece]) is var fetched and not MemoryReadResult.Ok)
            {
                return fetched;
            }

            address += (ulong)piece;
            destination = destination[piece..];
        }
    }

    /// <summary>Whether mapped RAM tells what is at the address, even if it is that no page is there.</summary>
    private bool IsMapped(ulong address) => _mapping == Mapping.Entered && _space!.Probe(address) != MemoryReadResult.NotFetched;

    /// <summary>From now on it is noted what is read, where reading is a matter of fetching.</summary>
    public void BeginNoting()
    {
        _noted.Clear();
        _isNoting = ram is null;
    }

    /// <summary>
    /// What was read since <see cref="BeginNoting"/>, ascending; what lies close together is one range, as a request costs the stub more than some bytes.
    /// </summary>
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
