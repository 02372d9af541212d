using System.Collections.Immutable;
using KTrace.Debugger.Memory;
using KTrace.Debugger.NonStop.Ring;
using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Symbols.Arch;

namespace KTrace.Debugger.NonStop.Guest;

/// <summary>The memory that guest and host share: mapped here, and in the guest's address space once <see cref="TryMapAsync"/> has been there.</summary>
internal sealed class NonStopMemory : IDisposable
{
    private const int CodeAlignment = 16;
    private const int MaximumRing = 32 << 20, MaximumRing32 = 8 << 20;

    // What a guest can spare: with less RAM than this for each byte of ring, ring is made smaller.
    private const int RamPerRing = 16;

    private readonly SharedPiece _code;
    private readonly SharedPiece _control;
    private readonly SharedPiece _ring;
    private int _codeUsed;

    private NonStopMemory(NonStopLayout layout, SharedPiece code, SharedPiece control, SharedPiece ring)
    {
        (Layout, _code, _control, _ring) = (layout, code, control, ring);
        Reader = new RingReader(control, ring);
    }

    public NonStopLayout Layout { get; }

    public RingReader Reader { get; }

    /// <summary>Bytes of code that there is room for yet.</summary>
    public int CodeLeft => Layout.CodeSize - _codeUsed;

    /// <summary>Where the next code will lie, virtual.</summary>
    public ulong NextCode => Layout.Code + (ulong)_codeUsed;

    /// <summary>How large a ring this machine should have, in bytes; 0: it has too little memory for one.</summary>
    /// <param name="wanted">In bytes, or null: as fits the machine.</param>
    public static int RingSizeFor(ulong ram, Architecture architecture, int pageSize, int? wanted)
    {
        var limit = architecture.WordSize == 8 ? MaximumRing : MaximumRing32;
        var size = wanted ?? (int)Math.Min((ulong)limit, ram / RamPerRing);
        return size < pageSize ? 0 : (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)size + 1) >> 1;
    }

    /// <summary>Maps reserved memory into the guest, and checks through the stub that the guest sees it. The guest stands where its page tables are the ones that every process will have.</summary>
    /// <returns>The memory; or why not, in words for people.</returns>
    public static async Task<(NonStopMemory? Memory, string? WhyNot)> TryMapAsync(
        Machine machine, ReservedMemory reserved, int pageSize, int ringSize, int? ringLimit, CancellationToken cancellationToken)
    {
        if (machine.Memory.Ram is not { } ram || await GuestTables.ModeAsync(machine, cancellationToken) is not { } mode || GuestTables.PageSizeOf(mode) != pageSize)
        {
            return (null, "the CPU's paging mode has no large pages");
        }

        var layout = new NonStopLayout(reserved.Physical, 0, pageSize, ringSize);
        if (GuestTables.FindRoom(mode, layout.VirtualSize, ram) is not { } address)
        {
            return (null, "there is no free address space near the kernel");
        }

        layout = layout with { Virtual = address, RingLimit = Math.Min(ringLimit ?? ringSize, ringSize) };
        var code = ram.TryShare(layout.Physical, layout.CodeSize);
        var control = ram.TryShare(layout.PhysicalControl, layout.PageSize);
        var ring = ram.TryShare(layout.PhysicalRing, layout.RingSize);
        if (code is null || control is null || ring is null)
        {
            code?.Dispose();
            control?.Dispose();
            ring?.Dispose();
            return (null, "the guest's RAM cannot be written from here");
        }

        // int3 wherever no code was put.
        code.Bytes.Fill(0xcc);
        control.Bytes.Clear();
        ring.Bytes.Clear();
        var memory = new NonStopMemory(layout, code, control, ring);
        if (!GuestTables.TryMap(mode, layout, ram, await GuestTables.HasNoExecuteAsync(machine, cancellationToken)) || !await memory.IsSeenAsync(machine, cancellationToken))
        {
            memory.Dispose();
            return (null, "the guest does not see memory that was mapped for it");
        }

        return (memory, null);
    }

    /// <summary>Puts code where it was made for.</summary>
    /// <exception cref="TargetException">There is no room left.</exception>
    public void Place(CodeBlock block)
    {
        if (block.Address != NextCode)
        {
            throw new ArgumentException($"the block was made for 0x{block.Address:x}, the next place is 0x{NextCode:x}", nameof(block));
        }

        var end = (_codeUsed + block.Bytes.Length + CodeAlignment - 1) & -CodeAlignment;
        if (end > Layout.CodeSize)
        {
            throw new TargetException($"there is no room for the code of so many tracepoints: {Layout.CodeSize >> 20} MiB", "trace fewer functions, or with fewer different conditions");
        }

        block.Bytes.AsSpan().CopyTo(_code.Bytes[_codeUsed..]);
        _codeUsed = end;
    }

    /// <summary>What lies in the control block at an offset: a counter.</summary>
    public ulong Counter(int offset) => _control.LoadUInt64(offset);

    /// <summary>Changes a counter; the guest stands still.</summary>
    public void SetCounter(int offset, ulong value) => _control.StoreUInt64(offset, value);

    /// <summary>The return address that an entry keeps, or kept last. The guest may have written anything there.</summary>
    public ulong ReturnAddressOf(int index) => _control.LoadUInt64(ControlBlock.Returns + (index * ReturnEntry.Stride) + ReturnEntry.ReturnAddress);

    /// <summary>Frees a return entry whose function will never return.</summary>
    public void FreeReturn(int index) => _control.StoreUInt32(ControlBlock.Returns + (index * ReturnEntry.Stride) + ReturnEntry.State, 0);

    public void Dispose()
    {
        _code.Dispose();
        _control.Dispose();
        _ring.Dispose();
    }

    /// <summary>Writes a word here and reads it there: the first bytes of each of the four pieces.</summary>
    private async Task<bool> IsSeenAsync(Machine machine, CancellationToken cancellationToken)
    {
        const ulong mark = 0x4b54_7261_6365_0001;
        ImmutableArray<(SharedPiece Piece, ulong Address)> places = [(_code, Layout.Code), (_control, Layout.Control), (_ring, Layout.Ring), (_ring, Layout.Ring + (ulong)Layout.RingSize)];
        var seen = new byte[8];
        foreach (var (piece, address) in places)
        {
            var before = piece.LoadUInt64(0);
            piece.StoreUInt64(0, mark);
            var isRead = await machine.Client.SendAsync(new Rsp.Commands.ReadMemory(address, seen), cancellationToken) == seen.Length;
            piece.StoreUInt64(0, before);
            if (!isRead || BitConverter.ToUInt64(seen) != mark)
            {
                return false;
            }
        }

        return true;
    }
}
