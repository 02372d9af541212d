// Memory in pieces that fit into packets, pipelined. A stub may refuse a range as a whole because of one page in it (QEMU: E14), or answer with
// the bytes before the first bad one (gdbserver). Either way: what was refused is cut at page boundaries and asked for again, and only a
// piece within one page that is refused counts as unreadable.
using System.Numerics;
using KTrace.Rsp.Commands;

namespace KTrace.Rsp;

/// <summary>A range that the stub refused to read.</summary>
/// <param name="Code">The number of its `Enn` (14 is QEMU's for "no page there"), or 0.</param>
public readonly record struct UnreadableRange(ulong Address, int Length, int Code);

/// <summary>What became of a read. Bytes of unreadable ranges are left as they were in the caller's buffer.</summary>
/// <param name="Requested">In bytes.</param>
/// <param name="Unreadable">In order of addresses; empty when everything was read.</param>
public readonly record struct MemoryRead(ulong Address, int Requested, IReadOnlyList<UnreadableRange> Unreadable)
{
    public bool IsComplete => Unreadable.Count == 0;

    /// <summary>How many bytes from the start on were read before the first that could not be.</summary>
    public int ReadableFromStart => IsComplete ? Requested : (int)(Unreadable[0].Address - Address);
}

/// <summary>Splits transfers and puts their pieces together.</summary>
internal static class MemoryTransfer
{
    private const ulong PageSize = 4096;
    private const int MaxRounds = 64;

    public static async ValueTask<MemoryRead> ReadAsync(
        RspExchange exchange, ulong address, Memory<byte> destination, CancellationToken cancellationToken)
    {
        var unreadable = new List<UnreadableRange>();
        var reachable = Reachable(address, destination.Length);
        if (reachable < destination.Length)
        {
            unreadable.Add(new UnreadableRange(0, destination.Length - reachable, 0));
        }

        var limit = exchange.Features.MaxMemoryRead;
        // A range that fits into a packet is asked for at once wherever it lies. A longer one is cut at multiples of the limit rounded
        // down to a power of two: where that is at most a page, no piece crosses pages and none is asked for twice.
        var pieces = reachable > 0 && reachable <= limit
            ? [new Piece(address, destination[..reachable])]
            : Cut(address, destination[..reachable], BitOperations.RoundUpToPowerOf2((uint)limit + 1) / 2);
        for (var round = 0; pieces.Count > 0; round++)
        {
            if (round == MaxRounds)
            {
                throw new RspException(RspErrorKind.Protocol, $"the stub reads memory at 0x{address:x} in bits and pieces: {MaxRounds} rounds were not enough");
            }

            var commands = new RspCommand[pieces.Count];
            for (var i = 0; i < commands.Length; i++)
            {
                commands[i] = exchange.Features.BinaryUpload
                    ? new ReadMemoryBinary(pieces[i].Address, pieces[i].Bytes)
                    : new ReadMemory(pieces[i].Address, pieces[i].Bytes);
            }

            var outcomes = new RspOutcome[commands.Length];
            await exchange.SendAsync(commands, outcomes, cancellationToken).ConfigureAwait(false);
            var again = new List<Piece>();
            for (var i = 0; i < outcomes.Length; i++)
            {
                Sort(exchange, commands[i], pieces[i], outcomes[i], again, unreadable);
            }

            pieces = again;
        }

        return new MemoryRead(address, destination.Length, Merge(address, unreadable));
    }

    /// <exception cref="RspException">ErrorReply: the stub refused a piece; those before and after it may have been written.</exception>
    public static async ValueTask WriteAsync(
        RspExchange exchange, bool binary, ulong address, ReadOnlyMemory<byte> source, CancellationToken cancellationToken)
    {
        // X may need an escape for each byte, so it too carries half of what would fit at best.
        var limit = exchange.Features.MaxMemoryWrite;
        var commands = new RspCommand[(source.Length + limit - 1) / limit];
        for (var i = 0; i < commands.Length; i++)
        {
            var start = i * limit;
            var bytes = source.Slice(start, Math.Min(limit, source.Length - start));
            var at = address + (ulong)start;
            commands[i] = binary ? new WriteMemoryBinary(at, bytes) : new WriteMemory(at, bytes);
        }

        var outcomes = new RspOutcome[commands.Length];
        await exchange.SendAsync(commands, outcomes, cancellationToken).ConfigureAwait(false);
        var bad = Array.FindIndex(outcomes, outcome => !outcome.IsOk);
        if (bad >= 0)
        {
            throw exchange.Refusal(commands[bad], outcomes[bad]);
        }
    }

    private static void Sort(RspExchange exchange, RspCommand command, Piece piece, RspOutcome outcome, List<Piece> again, List<UnreadableRange> unreadable)
    {
        switch (outcome.Status)
        {
            case RspStatus.Ok when outcome.Length == piece.Bytes.Length:
                break;
            case RspStatus.Ok when outcome.Length > 0:
                again.AddRange(Cut(piece.Address + (ulong)outcome.Length, piece.Bytes[outcome.Length..], PageSize));
                break;
            case RspStatus.Unsupported:
                throw exchange.Refusal(command, outcome);
            default:
                if (CrossesPage(piece))
                {
                    again.AddRange(Cut(piece.Address, piece.Bytes, PageSize));
                }
                else
                {
                    unreadable.Add(new UnreadableRange(piece.Address, piece.Bytes.Length, outcome.Code));
                }

                break;
        }
    }

    private static bool CrossesPage(Piece piece) =>
        piece.Address / PageSize != (piece.Address + (ulong)piece.Bytes.Length - 1) / PageSize;

    /// <summary>How much of the range lies below the end of the address space.</summary>
    private static int Reachable(ulong address, int length) =>
        address != 0 && (ulong)length > 0UL - address ? (int)(0UL - address) : length;

    /// <summary>Cuts at the multiples of a power of two.</summary>
    private static List<Piece> Cut(ulong address, Memory<byte> bytes, ulong unit)
    {
        var pieces = new List<Piece>();
        while (!bytes.IsEmpty)
        {
            var room = (int)Math.Min((ulong)bytes.Length, unit - (address & (unit - 1)));
            pieces.Add(new Piece(address, bytes[..room]));
            address += (ulong)room;
            bytes = bytes[room..];
        }

        return pieces;
    }

    private static List<UnreadableRange> Merge(ulong start, List<UnreadableRange> ranges)
    {
        // The part beyond the end of the address space wraps to 0 and comes last.
        ranges.Sort((a, b) => (a.Address - start).CompareTo(b.Address - start));
        var merged = new List<UnreadableRange>();
        foreach (var range in ranges)
        {
            if (merged.Count > 0 && merged[^1] is var last && last.Address + (ulong)last.Length == range.Address && last.Code == range.Code)
            {
                merged[^1] = last with { Length = last.Length + range.Length };
            }
            else
            {
                merged.Add(range);
            }
        }

        return merged;
    }

    private readonly record struct Piece(ulong Address, Memory<byte> Bytes);
}
