using System.Buffers.Binary;
using System.Text;
using KTrace.Rsp;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Memory;

/// <summary>
/// Reads of a stopped guest's memory: out of its mapped RAM where there is such, through the stub otherwise and for everything that is no RAM. Both give the
/// same. Virtual addresses are those of the CPU that the stub has selected: the one that stopped, unless another was chosen since. "Not there" is null or
/// false; a broken stub throws RspException.
/// </summary>
/// <param name="ram">The machine's RAM; null: everything goes through the stub.</param>
public sealed class GuestMemory(RspClient client, int wordSize, MappedRam? ram = null)
{
    private const int MaximumString = 256;

    // QEMU's E14, whose digits are hexadecimal, for a page that is not there.
    private const int NoPage = 0x14;
    private const ulong PageSize = 4096;

    private readonly byte[] _word = new byte[8];
    private readonly AddressSpace? _space = ram is null ? null : new AddressSpace(ram);
    private RegisterBlock? _registers;
    private PagingRegisters? _paging;
    private long _changesSeen = -1;
    private OtherTables? _other;
    private long _otherSince;
    private bool _isTranslated;

    public MappedRam? Ram => ram;

    /// <summary>Reads as much as there is; what cannot be read is reported, and its bytes stay as they were.</summary>
    /// <param name="address">Virtual (without paging: physical).</param>
    /// <exception cref="RspException">Also WrongState: the guest runs.</exception>
    public async ValueTask<MemoryRead> ReadAsync(ulong address, Memory<byte> destination, CancellationToken cancellationToken)
    {
        var read = await ReadByOwnTablesAsync(address, destination, cancellationToken);
        if (read.IsComplete || _other is null || _otherSince != client.Resumes)
        {
            return read;
        }

        List<UnreadableRange> unreadable = [];
        foreach (var range in read.Unreadable)
        {
            for (int at = 0, length; at < range.Length; at += length)
            {
                length = LengthInPage(range.Address + (ulong)at, range.Length - at);
                if (!await _other.TryReadAsync(range.Address + (ulong)at, destination.Slice((int)(range.Address - address) + at, length), cancellationToken))
                {
                    Append(ref unreadable!, range with { Address = range.Address + (ulong)at, Length = length });
                }
            }
        }

        return read with { Unreadable = unreadable };
    }

    private async ValueTask<MemoryRead> ReadByOwnTablesAsync(ulong address, Memory<byte> destination, CancellationToken cancellationToken)
    {
        if (_space is null || !await TranslatesAsync(cancellationToken))
        {
            return await client.ReadMemoryAsync(address, destination, cancellationToken);
        }

        List<UnreadableRange>? unreadable = null;
        for (var done = 0; done < destination.Length;)
        {
            var rest = destination[done..];
            var at = address + (ulong)done;
            if (at < address)
            {
                // Beyond the end of the address space, as the stub's way has it.
                (unreadable ??= []).Add(new UnreadableRange(0, rest.Length, 0));
                break;
            }

            done += _space.Read(at, Reachable(at, rest).Span, out var end);
            if (end == MemoryReadResult.Unreadable)
            {
                done += AddUnreadable(ref unreadable, address + (ulong)done, destination.Length - done);
            }
            else if (end == MemoryReadResult.NotFetched)
            {
                var length = LengthLeftToTheStub(address + (ulong)done, destination.Length - done);
                var read = await client.ReadMemoryAsync(address + (ulong)done, destination.Slice(done, length), cancellationToken);
                foreach (var range in read.Unreadable)
                {
                    Append(ref unreadable, range);
                }

                done += length;
            }
        }

        return new MemoryRead(address, destination.Length, unreadable is null ? [] : unreadable);
    }

    /// <summary>Reads physical memory. Where no RAM and no device is, QEMU makes bytes up (zeros); nothing is unreadable.</summary>
    /// <exception cref="RspException">Also Unsupported: the stub is not QEMU.</exception>
    public async ValueTask ReadPhysicalAsync(ulong address, Memory<byte> destination, CancellationToken cancellationToken)
    {
        if (ram is not null && client.State == RspState.Stopped && ram.TryRead(address, destination.Span))
        {
            return;
        }

        cancellationToken.ThrowIfCancellationRequested();
        try
        {
            // Not given up half way: a switch that was sent and not awaited would have been made all the same.
            await client.SetPhysicalMemoryModeAsync(true, CancellationToken.None);
            await client.ReadMemoryAsync(address, destination, cancellationToken);
        }
        finally
        {
            if (client.State == RspState.Stopped)
            {
                // Whatever came in between: the next request means virtual addresses again.
                await client.SetPhysicalMemoryModeAsync(false, CancellationToken.None);
            }
        }
    }

    public async ValueTask<bool> TryReadAsync(ulong address, Memory<byte> destination, CancellationToken cancellationToken)
    {
        var read = await ReadAsync(address, destination, cancellationToken);
        return read.IsComplete;
    }

    /// <summary>
    /// Until the guest runs again, what the CPU's own page tables do not map is read by these (page table isolation: a CPU in user mode has none of the
    /// kernel's); null: not at all.
    /// </summary>
    internal void UseTables(PagingMode? tables) => (_other, _otherSince) = (tables is { } mode ? new OtherTables(this, mode) : null, client.Resumes);

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
    /// A NUL-terminated string of at most <paramref name="limit"/> bytes (cut there), as UTF-8 with bad bytes replaced. Null when its first byte cannot be
    /// read. The text is the guest's: it may hold anything, and has to be sanitised before a terminal sees it.
    /// </summary>
    public async ValueTask<string?> TryReadStringAsync(ulong address, int limit, CancellationToken cancellationToken)
    {
        var bytes = new byte[Math.Clamp(limit, 1, MaximumString)];
        var read = await ReadAsync(address, bytes, cancellationToken);
        if (read.ReadableFromStart == 0)
        {
            return null;
        }

        var text = bytes.AsSpan(0, read.ReadableFromStart);
        var end = text.IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? text : text[..end]);
    }

    /// <summary>Sees to it that the address space is that of the selected CPU now.</summary>
    /// <returns>False when the stub does not tell how addresses are translated, or cannot be asked now.</returns>
    private async ValueTask<bool> TranslatesAsync(CancellationToken cancellationToken)
    {
        if (client.State != RspState.Stopped)
        {
            return false;
        }

        if (_changesSeen != client.Changes)
        {
            _registers ??= new RegisterBlock(client.Layout);
            _paging ??= new PagingRegisters(client.Layout);
            await client.ReadRegistersAsync(_registers, cancellationToken);
            _isTranslated = _paging.Read(_registers) is { } mode && Enter(mode);
            _changesSeen = client.Changes;
        }

        return _isTranslated;
    }

    private bool Enter(in PagingMode mode)
    {
        _space!.Enter(mode);
        return true;
    }

    /// <summary>
    /// How many bytes follow that only the stub can read; whole pages, so that it refuses the same ones as if it had been asked for everything.
    /// </summary>
    private int LengthLeftToTheStub(ulong address, int limit)
    {
        var length = 0;
        do
        {
            length += LengthInPage(address + (ulong)length, limit - length);
        }
        while (length < limit && address + (ulong)length != 0 && _space!.Probe(address + (ulong)length) == MemoryReadResult.NotFetched);
        return length;
    }

    private static int AddUnreadable(ref List<UnreadableRange>? unreadable, ulong address, int limit)
    {
        var length = LengthInPage(address, limit);
        Append(ref unreadable, new UnreadableRange(address, length, NoPage));
        return length;
    }

    /// <summary>Neighbours become one range.</summary>
    private static void Append(ref List<UnreadableRange>? unreadable, in UnreadableRange range)
    {
        unreadable ??= [];
        if (unreadable.Count > 0 && unreadable[^1] is var last && last.Address + (ulong)last.Length == range.Address && last.Code == range.Code)
        {
            unreadable[^1] = last with { Length = last.Length + range.Length };
        }
        else
        {
            unreadable.Add(range);
        }
    }

    private static int LengthInPage(ulong address, int limit) => (int)Math.Min((ulong)limit, PageSize - (address % PageSize));

    private static Memory<byte> Reachable(ulong address, Memory<byte> bytes) =>
        address != 0 && (ulong)bytes.Length > 0UL - address ? bytes[..(int)(0UL - address)] : bytes;
}
