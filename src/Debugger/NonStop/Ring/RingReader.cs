// The host's end of the ring. The guest may write anything into it at any time, its counters included: a record is copied out before it is checked, nothing is read outside of the ring, and every pass ends.
using System.Runtime.InteropServices;
using KTrace.Debugger.Memory;

namespace KTrace.Debugger.NonStop.Ring;

/// <summary>Takes one record; called in the ring's order.</summary>
internal delegate void RingRecordTaker(RingRecord record);

/// <summary>Reads complete records and gives their room back. One thread at a time.</summary>
internal sealed class RingReader(SharedPiece control, SharedPiece ring)
{
    private readonly byte[] _copy = new byte[RingRecord.MaximumSize];
    private ulong _tail;

    /// <summary>Bytes that are reserved in the ring and not read yet.</summary>
    public long Fill => (long)Math.Min(control.LoadUInt64(ControlBlock.Head) - _tail, (ulong)ring.Length);

    /// <summary>Records that were given up for want of room.</summary>
    public ulong Dropped => control.LoadUInt64(ControlBlock.Dropped);

    /// <summary>How often a CPU waited for room.</summary>
    public ulong Waits => control.LoadUInt64(ControlBlock.Waits);

    public ulong ReturnsMissed => control.LoadUInt64(ControlBlock.ReturnsMissed);

    /// <summary>Reads what is complete.</summary>
    /// <param name="maximum">At most so many records.</param>
    /// <returns>How many were read; less than the maximum: no more is complete.</returns>
    /// <exception cref="TargetException">What lies in the ring is no record: the guest has written over it.</exception>
    public int Read(int maximum, RingRecordTaker take)
    {
        var count = 0;
        for (; count < maximum; count++)
        {
            var reserved = control.LoadUInt64(ControlBlock.Head) - _tail;
            if (reserved == 0)
            {
                break;
            }

            if (reserved > (ulong)ring.Length || reserved % RecordFormat.Alignment != 0)
            {
                throw Scribbled($"its head is {reserved:x} bytes ahead");
            }

            var place = (int)(_tail % (ulong)ring.Length);
            var commit = ring.LoadUInt64(place);
            if (commit == 0)
            {
                break;
            }

            var size = RingRecord.SizeOf(commit);
            if (size == 0 || (ulong)size > reserved)
            {
                throw Scribbled($"a record that begins with 0x{commit:x}");
            }

            Take(place, size);
            MemoryMarshal.Write(_copy, commit);
            if (!RingRecord.TryRead(_copy.AsSpan(0, size), out var record))
            {
                throw Scribbled("a record whose fields contradict each other");
            }

            // The room is the guest's again before the record is worked on.
            _tail += (ulong)size;
            control.StoreUInt64(ControlBlock.Tail, _tail);
            take(record);
        }

        return count;
    }

    /// <summary>From now on the guest records nothing and waits for nothing.</summary>
    public void Close() => control.StoreUInt32(ControlBlock.Closed, 1);

    /// <summary>Undoes <see cref="Close"/>.</summary>
    public void Open() => control.StoreUInt32(ControlBlock.Closed, 0);

    /// <summary>Copies a record out, clears its bytes; it may go on at the ring's beginning.</summary>
    private void Take(int place, int size)
    {
        var first = Math.Min(size, ring.Length - place);
        Move(ring.Bytes.Slice(place, first), _copy);
        Move(ring.Bytes[..(size - first)], _copy.AsSpan(first));

        static void Move(Span<byte> from, Span<byte> to)
        {
            from.CopyTo(to);
            from.Clear();
        }
    }

    private TargetException Scribbled(string what) => new(
        string.Create(System.Globalization.CultureInfo.InvariantCulture, $"the guest has written over the ring of non-stop tracepoints: {what}, at byte {_tail}"),
        "the hits before it are in the trace; --stop records without the ring");
}
