using System.Buffers.Binary;

namespace KTrace.Debugger.NonStop.Ring;

/// <summary>
/// One record of the ring, copied out of the guest's memory, so that nothing changes under who reads it. Its size and windows were checked (<see cref="TryRead"/>); what its fields say may still be anything, as the guest could have written them.
/// </summary>
public readonly ref struct RingRecord
{
    private readonly ReadOnlySpan<byte> _bytes;

    private RingRecord(ReadOnlySpan<byte> bytes, RingRecordKind kind)
    {
        _bytes = bytes;
        Kind = kind;
    }

    public RingRecordKind Kind { get; }

    public int Size => _bytes.Length;

    /// <summary>All of it, for who keeps it longer.</summary>
    public ReadOnlySpan<byte> Bytes => _bytes;

    public ulong Site => U64(RecordFormat.Site);

    /// <summary>Of a call: index of the program that wrote it.</summary>
    public uint Program => Kind == RingRecordKind.Call ? U32(RecordFormat.Program) : 0;

    public ulong Clock => U64(RecordFormat.Clock);

    public ulong Task => U64(RecordFormat.Task);

    public ulong StackPointer => U64(RecordFormat.StackPointer);

    public uint Flags => U32(RecordFormat.Flags);

    public uint Cpu => U32(RecordFormat.Cpu);

    public uint PreemptCount => U32(RecordFormat.PreemptCount);

    public uint Pid => U32(RecordFormat.Pid);

    public uint ThreadGroup => U32(RecordFormat.ThreadGroup);

    public uint TaskFlags => U32(RecordFormat.TaskFlags);

    public ReadOnlySpan<byte> Comm => _bytes.Slice(RecordFormat.Comm, RecordFormat.CommLength);

    /// <summary>The index of the return entry that a call took, or a return used; null: none.</summary>
    public int? ReturnIndex => Kind == RingRecordKind.Return ? (int)Site : U32(RecordFormat.ReturnIndex) is > 0 and var index ? (int)index - 1 : null;

    public int WindowCount => Kind == RingRecordKind.Call ? (int)U32(RecordFormat.WindowCount) : 0;

    /// <param name="number">As the instruction set numbers it: 0 ax, 1 cx, 2 dx, 3 bx, 4 sp, 5 bp, 6 si, 7 di, 8 to 15.</param>
    public ulong Register(int number) => U64(RecordFormat.Registers + (8 * number));

    /// <summary>A part of a stack: its address, its bytes, and whether the limit cut it.</summary>
    public ReadOnlySpan<byte> Window(int index, out ulong address, out bool isCut)
    {
        var start = RecordFormat.CallHeader;
        for (var before = 0; before < index; before++)
        {
            start += Length(before);
        }

        address = U64(RecordFormat.WindowAddresses + (8 * index));
        isCut = (U32(RecordFormat.WindowLengths + (4 * index)) & RecordFormat.WindowIsCut) != 0;
        return _bytes.Slice(start, Length(index));
    }

    /// <summary>Makes a record of bytes that begin with a commit word.</summary>
    /// <param name="bytes">Exactly as many as the commit word says (<see cref="SizeOf"/>).</param>
    /// <returns>False when they are none: the guest wrote something else there.</returns>
    public static bool TryRead(ReadOnlySpan<byte> bytes, out RingRecord record)
    {
        record = default;
        if (bytes.Length < RecordFormat.ReturnSize || SizeOf(BinaryPrimitives.ReadUInt64LittleEndian(bytes)) != bytes.Length)
        {
            return false;
        }

        var made = new RingRecord(bytes, (RingRecordKind)bytes[4]);
        switch (made.Kind)
        {
            case RingRecordKind.Return when made.Site < ReturnEntry.Count:
                record = made;
                return true;
            case RingRecordKind.Call when bytes.Length >= RecordFormat.CallHeader && made.WindowsFit():
                record = made;
                return true;
            default:
                return false;
        }
    }

    /// <summary>The size that a commit word tells, in bytes; 0 when it is no commit word.</summary>
    public static int SizeOf(ulong commit)
    {
        var size = (uint)commit;
        return commit >> 48 == RecordFormat.Magic && size is >= RecordFormat.ReturnSize and <= MaximumSize && size % RecordFormat.Alignment == 0 ? (int)size : 0;
    }

    /// <summary>Bytes of the largest record: the deepest stacks, 64 KiB, and the header.</summary>
    public const int MaximumSize = RecordFormat.CallHeader + (64 << 10);

    private bool WindowsFit()
    {
        if (U32(RecordFormat.WindowCount) > RecordFormat.MaximumWindows || U32(RecordFormat.ReturnIndex) > ReturnEntry.Count)
        {
            return false;
        }

        var length = 0L;
        for (var index = 0; index < WindowCount; index++)
        {
            length += Length(index);
        }

        return length <= _bytes.Length - RecordFormat.CallHeader;
    }

    private int Length(int window) => (int)(U32(RecordFormat.WindowLengths + (4 * window)) & ~RecordFormat.WindowIsCut);

    private uint U32(int offset) => BinaryPrimitives.ReadUInt32LittleEndian(_bytes[offset..]);

    private ulong U64(int offset) => BinaryPrimitives.ReadUInt64LittleEndian(_bytes[offset..]);
}
